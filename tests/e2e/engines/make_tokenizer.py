"""Write a model directory without weights (tokenizer and configs only, about 0.6 MB); standard library only.

usage: python make_tokenizer_dir.py OUTDIR [vocab_size]
Enough for the Dynamo frontend and its mock engine. The vocabulary is padded because the mock engine
emits arbitrary token ids: with a small vocabulary they cannot be decoded and the frontend counts no output.
"""

import json
import os
import sys

out = sys.argv[1]
size = int(sys.argv[2]) if len(sys.argv) > 2 else 32768
os.makedirs(out, exist_ok=True)

code = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
char, extra = code[:], 0
for b in range(256):
    if b not in code:
        code.append(b)
        char.append(256 + extra)
        extra += 1
names = ["<s>", "</s>", "<pad>"] + [chr(c) for c in char]
names += [f"w{i}" for i in range(len(names), size)]
special = [
    {
        "id": i,
        "content": names[i],
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    for i in range(3)
]
byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def dump(name, obj):
    with open(os.path.join(out, name), "w", encoding="utf-8") as f:
        json.dump(obj, f, ensure_ascii=False)


dump(
    "tokenizer.json",
    {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(names)},
            "merges": [],
        },
    },
)
dump(
    "tokenizer_config.json",
    {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "chat_template": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:",
    },
)
dump(
    "config.json",
    {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": size,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-05,
        "hidden_act": "silu",
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "torch_dtype": "float32",
    },
)
dump("generation_config.json", {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2})
