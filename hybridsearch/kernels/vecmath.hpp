// Elementary functions in single precision, written so that a compiler turns a loop over them into
// vector instructions: no branches, no calls, no tables. Errors are below 4 units in the last
// place for the arguments that a network produces (tests/kernels/test_kernels.py holds operators
// and random functions against float64); nan and infinities go through as in the C library.
// Coefficients: benchmarks/fit_polynomials.py, which prints the error of each polynomial.

#if defined(__FMA__) || defined(__aarch64__)
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif
#define FN static inline __attribute__((always_inline)) float

FN from_bits(int i) { float f; __builtin_memcpy(&f, &i, 4); return f; }
static inline __attribute__((always_inline)) int to_bits(float f) {
    int i; __builtin_memcpy(&i, &f, 4); return i;
}

const float ROUND = 12582912.0f;  // 1.5 * 2^23: adding it rounds |x| < 2^22 to an integer
const float LN2_HI = 0.693359375f, LN2_LO = -2.12194440e-4f, LOG2E = 1.44269504f;

FN v_add(float a, float b) { return a + b; }
FN v_sub(float a, float b) { return a - b; }
FN v_mul(float a, float b) { return a * b; }
FN v_div(float a, float b) { return a / b; }
FN v_neg(float a) { return -a; }
FN v_abs(float a) { return __builtin_fabsf(a); }
FN v_sqrt(float a) { return __builtin_sqrtf(a); }
FN v_relu(float a) { return a < 0.0f ? 0.0f : a; }   // nan stays
FN v_min0(float a) { return a > 0.0f ? 0.0f : a; }
FN v_max(float a, float b) { return (a > b) | (a != a) ? a : b; }
FN v_min(float a, float b) { return (a < b) | (a != a) ? a : b; }
FN v_sign(float a) { return a > 0.0f ? 1.0f : (a < 0.0f ? -1.0f : 0.0f); }
FN v_ifpos(float a, float g) { return a > 0.0f ? g : 0.0f; }
FN v_ifneg(float a, float g) { return a < 0.0f ? g : 0.0f; }
// The gradient of max(a, b) for a: a tie is shared.
FN v_ifmore(float a, float b, float g) { return a > b ? g : (a == b ? 0.5f * g : 0.0f); }

// 1/a for normal a > 0: two rounds of r (1 + e + e^2), e = 1 - a r, from a guess within 12%. A
// division of a whole register takes four times as long.
FN rcp(float a) {
    float r = from_bits(0x7ef311c7 - to_bits(a));
    float e = FMA(-a, r, 1.0f);
    r = FMA(r, FMA(e, e, e), r);
    e = FMA(-a, r, 1.0f);
    return FMA(r, FMA(e, e, e), r);
}

// exp(x) = 2^n (1 + em1) with x = n ln 2 + r, em1 = exp(r) - 1, half = 2^(n-1). Right between -86.9
// and 88.7: below, half is no normal number any more, and its bits are those of 0. The callers put
// what is known in the place of what lies further out, which is cheaper than to clamp.
#define EXP_PARTS(x)                                                        \
    const float shifted = FMA(x, LOG2E, ROUND);                             \
    const float n = shifted - ROUND;                                        \
    const float r = FMA(n, -LN2_LO, FMA(n, -LN2_HI, x));                    \
    float q = FMA(r, 1.394759547e-3f, 8.367246924e-3f);                     \
    q = FMA(q, r, 4.166626657e-2f);                                         \
    q = FMA(q, r, 1.666653801e-1f);                                         \
    q = FMA(q, r, 5.000000066e-1f);                                         \
    const float em1 = FMA(q * r, r, r);                                     \
    const float half = from_bits((to_bits(shifted) << 23) + (126 << 23));

FN exp_inside(float x) { EXP_PARTS(x) return FMA(em1, half, half) * 2.0f; }
FN expm1_inside(float x) { EXP_PARTS(x) return FMA(em1, half, half - 0.5f) * 2.0f; }
FN v_exp(float x) {
    const float y = exp_inside(x);
    // Where the result is not normal, the smallest normal number down to where it would be 0: some
    // functions have no finite slope at 0, and plain PyTorch does not meet it there. Between -87.3
    // and -86.99 the result is 0 all the same, as half is: PyTorch has 1.2e-38 to 1.7e-38 there. To
    // mend that would change the last bits of what is recorded.
    const float low = x < -104.0f ? 0.0f : 1.17549435e-38f;
    return x < -87.3f ? low : (x > 88.7228f ? __builtin_inff() : y);
}
FN v_sigmoid(float x) {
    const float y = rcp(1.0f + exp_inside(-x));
    const float low = x < -104.0f ? 0.0f : 1.8e-35f;  // as in v_exp
    return x > 80.0f ? 1.0f : (x < -80.0f ? low : y);
}
FN v_tanh(float x) {
    const float a = __builtin_fabsf(x), e = expm1_inside(a + a), r = rcp(e + 2.0f);
    const float near = e * r, far = FMA(-2.0f, r, 1.0f);  // 1 - far is what the slope is made of
    return __builtin_copysignf(a > 9.5f ? 1.0f : (a > 0.6f ? far : near), x);
}
FN v_sinh(float x) {
    const float a = __builtin_fabsf(x), e = expm1_inside(a);
    const float big = 0.5f * v_exp(a), small = 0.5f * FMA(e, rcp(e + 1.0f), e);
    return __builtin_copysignf(a > 20.0f ? big : small, x);
}
FN v_cosh(float x) {
    const float a = __builtin_fabsf(x);
    EXP_PARTS(a)
    const float y = half + FMA(em1, half, 0.25f / FMA(em1, half, half));  // rounded once at the end
    return a > 88.7228f ? __builtin_inff() : (x != x ? x : y);
}

// log(w) for normal w > 0: w = 2^n m, m in [sqrt(1/2), sqrt(2)); 2 atanh((m - 1) / (m + 1)).
FN v_log(float w) {
    const int i = to_bits(w) - 0x3f3504f3;
    const float n = (float)(i >> 23);
    const float m = from_bits((i & 0x7fffff) + 0x3f3504f3);
    const float f = m - 1.0f, s = f * rcp(m + 1.0f), z = s * s;
    float q = FMA(z, 1.493592860e-1f, 1.998876856e-1f);
    q = FMA(q, z, 3.333338821e-1f);
    const float h = 0.5f * f * f;  // 2s = f - s f; log m = f - (h - s (h + R)), as fdlibm sums it
    const float R = 2.0f * z * q;
    const float t = FMA(n, LN2_HI, f - (h - FMA(s, h + R, n * LN2_LO)));
    return w < __builtin_inff() ? t : w;
}
FN v_log1p(float u) {  // u >= 0; the second term gives back what 1 + u lost
    const float w = 1.0f + u;
    const float t = v_log(w) + (u - (w - 1.0f)) * rcp(w);
    return u < __builtin_inff() ? t : u;
}
FN v_softplus(float x) { return v_log1p(v_exp(-__builtin_fabsf(x))) + v_relu(x); }
FN v_asinh(float x) {
    const float a = __builtin_fabsf(x);
    const float u = FMA(a * a, rcp(1.0f + __builtin_sqrtf(FMA(a, a, 1.0f))), a);
    const float big = v_log(a + a), small = v_log1p(u);
    return __builtin_copysignf(a > 1e8f ? big : small, x);
}

// x - n pi in three parts of pi; the first difference is exact.
FN less_pi(float n, float x) {
    const float r = FMA(n, 8.74227766e-8f, FMA(n, -3.14159274f, x));
    return FMA(n, 3.43024902e-15f, r);
}
// sin(r) for |r| <= pi/2, its sign turned where the integer in `odd` is odd.
FN sin_reduced(float r, float odd, float x) {
    const float z = r * r;
    float q = FMA(z, 2.608646154e-6f, -1.981099387e-4f);
    q = FMA(q, z, 8.333086709e-3f);
    q = FMA(q, z, -1.666666041e-1f);
    const float s = FMA(q * z, r, r);
    const float t = from_bits(to_bits(s) ^ (to_bits(odd) << 31));
    return __builtin_fabsf(x) > 4e6f ? x - x : t;  // no digits are left there; nan for infinity
}
FN v_sin(float x) {
    const float odd = FMA(x, 0.318309886f, ROUND), n = odd - ROUND;
    return sin_reduced(less_pi(n, x), odd, x);
}
FN v_cos(float x) {  // sin(x + pi/2)
    const float odd = FMA(x, 0.318309886f, 0.5f) + ROUND, n = (odd - ROUND) - 0.5f;
    return sin_reduced(less_pi(n, x), odd, x);
}

FN v_atan(float x) {
    const float a = __builtin_fabsf(x);
    const float t = a > 1.0f ? (a > 1e9f ? 0.0f : rcp(a)) : a, z = t * t;
    float q = FMA(z, 2.974543117e-3f, -1.658099705e-2f);
    q = FMA(q, z, 4.355323985e-2f);
    q = FMA(q, z, -7.580553244e-2f);
    q = FMA(q, z, 1.067892890e-1f);
    q = FMA(q, z, -1.421420634e-1f);
    q = FMA(q, z, 1.999413688e-1f);
    q = FMA(q, z, -3.333316695e-1f);
    const float p = FMA(q * z, t, t);
    return __builtin_copysignf(a > 1.0f ? 1.57079633f - p : p, x);
}
FN v_erf(float x) {
    const float a = __builtin_fabsf(x), z = x * x;
    float p = FMA(z, -5.660153010e-4f, 4.924788956e-3f);
    p = FMA(p, z, -2.671770692e-2f);
    p = FMA(p, z, 1.128041159e-1f);
    p = FMA(p, z, -3.761235568e-1f);
    p = FMA(p, z, 1.283791286e-1f);
    const float near = FMA(p, x, x);
    const float t = a > 4.0f ? 4.0f : a;
    float q = FMA(t, -1.855748948e-4f, 2.939615751e-3f);
    q = FMA(q, t, -2.180535122e-2f);
    q = FMA(q, t, 1.030374356e-1f);
    q = FMA(q, t, 6.382256022e-1f);
    q = FMA(q, t, 1.127040080f);
    q = FMA(q, t, 3.537089088e-4f);
    const float far = __builtin_copysignf(1.0f - v_exp(-q), x);
    return a > 1.0f ? far : near;
}

FN v_sinc(float x) {
    const float q = x * x;
    float s = FMA(q, -1.0f / 110, 1.0f);
    s = FMA(s * q, -1.0f / 72, 1.0f);
    s = FMA(s * q, -1.0f / 42, 1.0f);
    s = FMA(s * q, -1.0f / 20, 1.0f);
    s = FMA(s * q, -1.0f / 6, 1.0f);
    return q < 0.25f ? s : v_sin(x) / x;
}
FN v_dsinc(float x) {  // cos(x)/x - sin(x)/x^2 cancels near 0
    const float q = x * x;
    float s = FMA(q, -1.0f / 3991680, 1.0f / 45360);
    s = FMA(s, q, -1.0f / 840);
    s = FMA(s, q, 1.0f / 30);
    s = FMA(s, q, -1.0f / 3);
    return q < 0.25f ? s * x : (v_cos(x) - v_sin(x) / x) / x;
}

// bfloat16 is the upper half of a float; rounded to nearest, ties to even, nan kept.
FN from_half(unsigned short h) { return from_bits((int)h << 16); }
static inline __attribute__((always_inline)) unsigned short to_half(float f) {
    const unsigned u = (unsigned)to_bits(f);
    const unsigned r = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (unsigned short)(f != f ? 0x7fc0u : r);
}
FN load(const float* p) { return *p; }
FN load(const unsigned short* p) { return from_half(*p); }
static inline __attribute__((always_inline)) void store(float* p, float v) { *p = v; }
static inline __attribute__((always_inline)) void store(unsigned short* p, float v) { *p = to_half(v); }
