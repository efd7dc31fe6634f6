"""Programs -> the text of a C++ file with one forward and one backward function per format.

The generated file includes nothing, so that it compiles in a fraction of a second. Layouts: in
memory the channel axis is last (rows x channels), or in the middle (outer x channels x inner); a
function without betas sees a flat array.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from hybridsearch.genome.function import Function
from hybridsearch.kernels.program import Instruction, Program, programs

FORMATS = {"f32": "float", "bf16": "unsigned short"}

_DRIVER = """
typedef long long idx;
#define UNROLLED _Pragma("omp simd")

// Betas repeated along a block of `period` elements, so that the inner loop reads them in step.
static void spread(const float* betas, float* wide, int count, idx channels, idx period) {
    for (int k = 0; k < count; ++k)
        for (idx j = 0; j < period; ++j) wide[k * period + j] = betas[k * channels + j % channels];
}

template <class T>
static void forward(const T* __restrict x, T* __restrict y, const float* __restrict betas,
                    idx outer, idx channels, idx inner, idx period, float* __restrict wide) {
    if (inner == 1) {  // channels last: `outer` rows of `channels`
        spread(betas, wide, BETAS, channels, period);
        const idx n = outer * channels;
        for (idx at = 0; at < n; at += period) {
            const idx m = n - at < period ? n - at : period;
            UNROLLED for (idx j = 0; j < m; ++j)
                store(y + at + j, value(load(x + at + j) WIDE));
        }
        return;
    }
    for (idx row = 0; row < outer * channels; ++row) {
        const idx c = row % channels, at = row * inner;
        UNROLLED for (idx j = 0; j < inner; ++j)
            store(y + at + j, value(load(x + at + j) NARROW));
    }
}

// sums: in double, since a channel has up to millions of elements.
template <class T>
static void backward(const T* __restrict x, const T* __restrict g, T* __restrict gx,
                     const float* __restrict betas, double* __restrict sums, idx outer,
                     idx channels, idx inner, idx period, float* __restrict wide) {
    for (idx k = 0; k < BETAS * channels; ++k) sums[k] = 0.0;
    if (inner == 1) {
        float* __restrict part = wide + BETAS * period;
        spread(betas, wide, BETAS, channels, period);
        const idx n = outer * channels;
        for (idx start = 0; start < n; start += FLUSH * period) {
            for (idx j = 0; j < BETAS * period; ++j) part[j] = 0.0f;
            const idx end = n < start + FLUSH * period ? n : start + FLUSH * period;
            for (idx at = start; at < end; at += period) {
                const idx m = end - at < period ? end - at : period;
                UNROLLED for (idx j = 0; j < m; ++j) {
                    float dx DECLARE;
                    slopes(load(x + at + j), load(g + at + j), dx WIDE PASS);
                    store(gx + at + j, dx);
                    ADD_PARTS
                }
            }
            for (idx k = 0; k < BETAS; ++k)
                for (idx j = 0; j < period; j += channels)
                    for (idx c = 0; c < channels; ++c)
                        sums[k * channels + c] += part[k * period + j + c];
        }
        return;
    }
    for (idx row = 0; row < outer * channels; ++row) {
        const idx c = row % channels, at = row * inner;
        for (idx start = 0; start < inner; start += CHUNK) {
            const idx end = inner < start + CHUNK ? inner : start + CHUNK;
            ZERO_SUMS
            _Pragma(SIMD_SUMS)
            for (idx j = start; j < end; ++j) {
                float dx DECLARE;
                slopes(load(x + at + j), load(g + at + j), dx NARROW PASS);
                store(gx + at + j, dx);
                ADD_SUMS
            }
            KEEP_SUMS
        }
    }
}
"""

_EXPORT = """
extern "C" void forward_{name}(const {type}* x, {type}* y, const float* betas, idx outer,
                               idx channels, idx inner, idx period, float* wide) {{
    forward<{type}>(x, y, betas, outer, channels, inner, period, wide);
}}
extern "C" void backward_{name}(const {type}* x, const {type}* g, {type}* gx, const float* betas,
                                double* sums, idx outer, idx channels, idx inner, idx period,
                                float* wide) {{
    backward<{type}>(x, g, gx, betas, sums, outer, channels, inner, period, wide);
}}
"""


@cache
def elementary() -> str:
    """The elementary functions, as C++."""
    return (resources.files("hybridsearch.kernels") / "vecmath.hpp").read_text(encoding="utf-8")


def cpp(function: Function) -> str:
    """The C++ file of a function."""
    forward, backward = programs(function)
    n = forward.betas
    params = "".join(f", float b{k}" for k in range(n))
    outs = "".join(f", float& d{k}" for k in range(n))
    value = [f"static inline __attribute__((always_inline)) float value(float x{params}) {{"]
    value += _body(forward)
    value += [f"    return t{forward.results[0]};", "}"]
    slopes = [
        "static inline __attribute__((always_inline)) void "
        f"slopes(float x, float g, float& dx{params}{outs}) {{"
    ]
    slopes += _body(backward)
    slopes += [f"    dx = t{backward.results[0]};"]
    slopes += [f"    d{k} = t{r};" for k, r in enumerate(backward.results[1:])]
    slopes += ["}"]
    every = range(n)
    macros = {
        "BETAS": str(n),
        "FLUSH": "16",  # blocks per partial sum in single precision
        "CHUNK": "4096",
        "WIDE": "".join(f", wide[{k} * period + j]" for k in every),
        "NARROW": "".join(f", betas[{k} * channels + c]" for k in every),
        "DECLARE": "".join(f", d{k}" for k in every),
        "PASS": "".join(f", d{k}" for k in every),
        "ADD_PARTS": " ".join(f"part[{k} * period + j] += d{k};" for k in every),
        "ZERO_SUMS": " ".join(f"float s{k} = 0.0f;" for k in every),
        "SIMD_SUMS": '"omp simd'
        + (f" reduction(+:{','.join(f's{k}' for k in every)})" * bool(n))
        + '"',
        "ADD_SUMS": " ".join(f"s{k} += d{k};" for k in every),
        "KEEP_SUMS": " ".join(f"sums[{k} * channels + c] += s{k};" for k in every),
    }
    defines = [f"#define {name} {text}" for name, text in macros.items()]
    exports = [_EXPORT.format(name=name, type=type_) for name, type_ in FORMATS.items()]
    return "\n".join([elementary(), *value, *slopes, *defines, _DRIVER, *exports])


def _body(program: Program) -> list[str]:
    return [f"    const float t{k} = {_term(i)};" for k, i in enumerate(program.instructions)]


def _term(i: Instruction) -> str:
    if i.op == "beta":
        return f"b{i.number}"
    if i.op == "const":
        return f"{float(i.constant)!r}f" if i.constant % 1 or i.constant else "0.0f"
    if not i.args:
        return i.op
    return f"v_{i.op}({', '.join(f't{a}' for a in i.args)})"
