"""PURE. The engines that are known. One file and one line each; the order decides only between equal evidence."""

from agent.engines.dynamo import DYNAMO
from agent.engines.dynamo_worker import DYNAMO_WORKER
from agent.engines.engine import Engine
from agent.engines.generic import GENERIC
from agent.engines.kserve import KSERVE
from agent.engines.llamacpp import LLAMACPP
from agent.engines.lmdeploy import LMDEPLOY
from agent.engines.ollama import OLLAMA
from agent.engines.ray_serve import RAY_SERVE
from agent.engines.sglang import SGLANG
from agent.engines.tgi import TGI
from agent.engines.triton import TRITON
from agent.engines.trtllm import TRTLLM
from agent.engines.vllm import VLLM

ENGINES: tuple[Engine, ...] = (
    VLLM,
    SGLANG,
    LLAMACPP,
    TRITON,
    DYNAMO,
    DYNAMO_WORKER,
    RAY_SERVE,
    KSERVE,
    TGI,
    TRTLLM,
    LMDEPLOY,
    OLLAMA,
    GENERIC,
)
