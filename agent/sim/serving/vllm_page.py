"""The page of metrics of vLLM 0.32 as a table, family by family in its order.

Families of what a chat model without multi-modal input does not do are left out, and so are the `_created` series: the
servers run with PROMETHEUS_DISABLE_CREATED_SERIES.
"""

from agent.sim.serving.page import Family

_L = 'engine="0",model_name="{model}"'
_H = 'engine="0",le,model_name="{model}"'
_E = 'engine="0",finished_reason='
_M = ',model_name="{model}"'
_POST = 'handler="/v1/chat/completions",method="POST",status='

FAMILIES: tuple[Family, ...] = (
    Family("python_gc_objects_collected_total", "counter", "Objects collected during gc",
           (('generation="0"', "24969.0"), ('generation="1"', "2664.0"), ('generation="2"', "624.0"))),
    Family("python_info", "gauge", "Python platform information",
           (('implementation="CPython",major="3",minor="12",patchlevel="11",version="3.12.11"', "1.0"),)),
    Family("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
           (("", "1.4273318912e+11"),)),
    Family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
           (("", "8.16082944e+09"),)),
    Family("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
           (("", "start"),)),
    Family("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
           (("", "cpu"),)),
    Family("process_open_fds", "gauge", "Number of open file descriptors.",
           (("", "88.0"),)),
    Family("process_max_fds", "gauge", "Maximum number of open file descriptors.",
           (("", "65535.0"),)),
    Family("vllm:num_requests_running", "gauge", "Number of requests in model execution batches.",
           ((_L, "running"),)),
    Family("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.",
           ((_L, "waiting"),)),
    Family("vllm:num_requests_waiting_by_reason", "gauge",
           "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; "
           "'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all "
           "reasons equals vllm:num_requests_waiting.",
           ((_L + ',reason="capacity"', "waiting"), (_L + ',reason="deferred"', "0.0"))),
    Family("vllm:engine_sleep_state", "gauge",
           "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
           "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
           ((_L + ',sleep_state="awake"', "awake"),
            (_L + ',sleep_state="weights_offloaded"', "offloaded"),
            (_L + ',sleep_state="discard_all"', "0.0"))),
    Family("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.",
           ((_L, "kv"),)),
    Family("vllm:prefix_cache_queries_total", "counter", "Prefix cache queries, in terms of number of queried tokens.",
           ((_L, "prompt_tokens"),)),
    Family("vllm:prefix_cache_hits_total", "counter", "Prefix cache hits, in terms of number of cached tokens.",
           ((_L, "hits"),)),
    Family("vllm:external_prefix_cache_queries_total", "counter",
           "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of "
           "queried tokens.",
           ((_L, "0.0"),)),
    Family("vllm:external_prefix_cache_hits_total", "counter",
           "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached "
           "tokens.",
           ((_L, "0.0"),)),
    Family("vllm:num_preemptions_total", "counter", "Cumulative number of preemption from the engine.",
           ((_L, "preemptions"),)),
    Family("vllm:prompt_tokens_total", "counter", "Number of prefill tokens processed.",
           ((_L, "prompt_tokens"),)),
    Family("vllm:prompt_tokens_by_source_total", "counter", "Number of prompt tokens by source.",
           ((_L + ',source="local_compute"', "computed"),
            (_L + ',source="local_cache_hit"', "hits"),
            (_L + ',source="external_kv_transfer"', "0.0"))),
    Family("vllm:prompt_tokens_cached_total", "counter", "Number of cached prompt tokens (local + external).",
           ((_L, "hits"),)),
    Family("vllm:generation_tokens_total", "counter", "Number of generation tokens processed.",
           ((_L, "tokens"),)),
    Family("vllm:request_success_total", "counter", "Count of successfully processed requests.",
           ((_E + '"stop"' + _M, "stopped"),
            (_E + '"length"' + _M, "cut"),
            (_E + '"abort"' + _M, "0.0"),
            (_E + '"error"' + _M, "failed"),
            (_E + '"repetition"' + _M, "0.0"))),
    Family("vllm:admission_rejections_total", "counter",
           "Number of admission attempts rejected by a queue limit, by reason.",
           (('model_name="{model}",reason="max_num_queued_reqs"', "0.0"),
            ('model_name="{model}",reason="max_num_queued_tokens"', "0.0"))),
    Family("vllm:request_prompt_tokens", "histogram", "Number of prefill tokens processed.",
           ((_H, "prompt"),)),
    Family("vllm:request_generation_tokens", "histogram", "Number of generation tokens processed.",
           ((_H, "output"),)),
    Family("vllm:iteration_tokens_total", "histogram", "Histogram of number of tokens per engine_step.",
           ((_H, "steps"),)),
    Family("vllm:request_max_num_generation_tokens", "histogram",
           "Histogram of maximum number of requested generation tokens.",
           ((_H, "output"),)),
    Family("vllm:request_params_n", "histogram", "Histogram of the n request parameter.",
           ((_H, "n"),)),
    Family("vllm:request_params_max_tokens", "histogram", "Histogram of the max_tokens request parameter.",
           ((_H, "max_tokens"),)),
    Family("vllm:time_to_first_token_seconds", "histogram", "Histogram of time to first token in seconds.",
           ((_H, "ttft"),)),
    Family("vllm:inter_token_latency_seconds", "histogram", "Histogram of inter-token latency in seconds.",
           ((_H, "itl"),)),
    Family("vllm:request_time_per_output_token_seconds", "histogram",
           "Histogram of time_per_output_token_seconds per request.",
           ((_H, "tpot"),)),
    Family("vllm:e2e_request_latency_seconds", "histogram", "Histogram of e2e request latency in seconds.",
           ((_H, "e2e"),)),
    Family("vllm:request_queue_time_seconds", "histogram", "Histogram of time spent in WAITING phase for request.",
           ((_H, "queue"),)),
    Family("vllm:request_inference_time_seconds", "histogram", "Histogram of time spent in RUNNING phase for request.",
           ((_H, "inference"),)),
    Family("vllm:request_prefill_time_seconds", "histogram", "Histogram of time spent in PREFILL phase for request.",
           ((_H, "prefill"),)),
    Family("vllm:request_decode_time_seconds", "histogram", "Histogram of time spent in DECODE phase for request.",
           ((_H, "inference"),)),
    Family("vllm:request_num_preemptions", "histogram", "Histogram of the number of times a request was preempted.",
           ((_H, "preempted"),)),
    Family("http_requests_total", "counter", "Total number of requests by method, status and handler.",
           ((_POST + '"2xx"', "good"), (_POST + '"4xx"', "refused"), (_POST + '"5xx"', "failed"))),
    Family("http_request_duration_highr_seconds", "histogram",
           "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations. ",
           (("le,", "http"),)),
)  # fmt: skip

_TIMES = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
          1920.0, 7680.0)  # fmt: skip
_ITL = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
         160.0, 640.0, 2560.0)  # fmt: skip
_TOKENS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5)
_STEPS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
_HTTP = (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0,
         60.0)  # fmt: skip

# name: (edges, how widely it spreads round its mean)
SPREADS: dict[str, tuple[tuple[float, ...], float]] = {
    "ttft": (_TTFT, 0.45),
    "itl": (_ITL, 0.22),
    "tpot": (_ITL, 0.12),
    "e2e": (_TIMES, 0.55),
    "queue": (_TIMES, 0.8),
    "inference": (_TIMES, 0.55),
    "prefill": (_TIMES, 0.45),
    "http": (_HTTP, 0.55),
    "prompt": (_TOKENS, 0.7),
    "output": (_TOKENS, 0.6),
    "max_tokens": (_TOKENS, 0.3),
    "steps": (_STEPS, 0.5),
    "n": ((1.0, 2.0, 5.0, 10.0, 20.0), 0.01),
    "preempted": ((1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0), 0.4),
}
