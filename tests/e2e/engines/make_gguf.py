"""Write a tiny random llama-architecture GGUF file (about 0.5 MB) that a real llama.cpp server loads.

usage: python make_tiny_gguf.py OUT.gguf [hidden layers heads]      needs: pip install gguf numpy
A larger size (for example 1024 12 8, about 620 MB) makes requests slow enough to watch queueing.
"""

import sys

import gguf
import numpy as np

out = sys.argv[1]
dim, layers, heads = (int(a) for a in sys.argv[2:5]) if len(sys.argv) > 4 else (64, 2, 2)
ff, ctx = dim * 11 // 4 // 32 * 32 or 128, 2048

# byte-level BPE vocabulary: 256 byte symbols plus three control tokens, one dummy merge
code = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
char, extra = code[:], 0
for b in range(256):
    if b not in code:
        code.append(b)
        char.append(256 + extra)
        extra += 1
tokens = [chr(c) for c in char]
vocab = [*tokens, "<s>", "</s>", "<pad>"]
n = len(vocab)

w = gguf.GGUFWriter(out, "llama")
w.add_name("tiny-random")
w.add_context_length(ctx)
w.add_embedding_length(dim)
w.add_block_count(layers)
w.add_feed_forward_length(ff)
w.add_head_count(heads)
w.add_head_count_kv(heads)
w.add_rope_dimension_count(dim // heads)
w.add_layer_norm_rms_eps(1e-5)
w.add_vocab_size(n)
w.add_file_type(gguf.LlamaFileType.ALL_F32)
w.add_tokenizer_model("gpt2")
w.add_tokenizer_pre("gpt-2")
w.add_token_list(vocab)
w.add_token_types([gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.CONTROL] * 3)
w.add_token_merges([tokens[0] + " " + tokens[1]])
w.add_bos_token_id(n - 3)
w.add_eos_token_id(n - 2)
w.add_pad_token_id(n - 1)
w.add_add_bos_token(True)
w.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")

rng = np.random.default_rng(0)


def rnd(*shape):
    return (rng.standard_normal(shape, dtype=np.float32) * 0.05).astype(np.float32)


w.add_tensor("token_embd.weight", rnd(n, dim))
w.add_tensor("output_norm.weight", np.ones(dim, np.float32))
w.add_tensor("output.weight", rnd(n, dim))
for i in range(layers):
    p = f"blk.{i}."
    w.add_tensor(p + "attn_norm.weight", np.ones(dim, np.float32))
    w.add_tensor(p + "ffn_norm.weight", np.ones(dim, np.float32))
    for k in ("attn_q", "attn_k", "attn_v", "attn_output"):
        w.add_tensor(p + k + ".weight", rnd(dim, dim))
    w.add_tensor(p + "ffn_gate.weight", rnd(ff, dim))
    w.add_tensor(p + "ffn_up.weight", rnd(ff, dim))
    w.add_tensor(p + "ffn_down.weight", rnd(dim, ff))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
