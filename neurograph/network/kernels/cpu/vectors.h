// Vectors of the widest registers that the compiler may use, and sums over their lanes.

#ifndef NEUROGRAPH_VECTORS_H_
#define NEUROGRAPH_VECTORS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// Results of more bytes go past the caches: whoever reads them next would not find them there, and what they drive out is read again.
constexpr int64_t kCached = 8 << 20;

template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(kBytes)));
  typedef T unaligned __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
  static constexpr int lanes = kBytes / sizeof(T);
};

template <typename T>
inline typename Vector<T>::type load(const T* at) {
  return *reinterpret_cast<const typename Vector<T>::unaligned*>(at);
}

template <typename T>
inline void store(T* at, typename Vector<T>::type value) {
  *reinterpret_cast<typename Vector<T>::unaligned*>(at) = value;
}

// Asks the memory for N vectors.
template <typename T, int N>
inline void fetch(const T* at) {
  for (int line = 0; line < N * Vector<T>::lanes; line += 64 / sizeof(T)) __builtin_prefetch(at + line);
}

// Halves of every block of 2 * kWidth lanes are added up: a's sums become the first half of the block, b's the second.
template <int kWidth, typename V, size_t... kLane>
inline V fold(V a, V b, std::index_sequence<kLane...>) {
  constexpr int lanes = sizeof...(kLane), block = 2 * kWidth;
  const V first = __builtin_shufflevector(a, b, (kLane % block < kWidth ? kLane : lanes + kLane - kWidth)...);
  const V second = __builtin_shufflevector(a, b, (kLane % block < kWidth ? kLane + kWidth : lanes + kLane)...);
  return first + second;
}

// Arrays are indexed by constants alone, here and below: the compiler then keeps them in registers.
template <int kWidth, typename V, size_t... kPair, size_t... kLane>
inline V sums_of(const V* v, std::index_sequence<kPair...>, std::index_sequence<kLane...> lanes) {
  constexpr int half = sizeof...(kPair);
  if constexpr (half == 0) {
    return v[0];
  } else {
    const V next[half] = {fold<kWidth>(v[kPair], v[kPair + half], lanes)...};
    return sums_of<kWidth / 2>(next, std::make_index_sequence<half / 2>{}, lanes);
  }
}

// Sums over the lanes of N vectors, as far as folding them into one adds up: that of vector i in N-th part i of the lanes.
template <typename T, int N>
inline typename Vector<T>::type sums(const typename Vector<T>::type* v) {
  constexpr int lanes = Vector<T>::lanes;
  return sums_of<lanes / 2>(v, std::make_index_sequence<N / 2>{}, std::make_index_sequence<lanes>{});
}

// The rest of it: every run of 2 * kWidth lanes is added up.
template <int kWidth, typename V>
inline V sum_runs(V v) {
  if constexpr (kWidth == 0) {
    return v;
  } else {
    return sum_runs<kWidth / 2>(fold<kWidth>(v, v, std::make_index_sequence<sizeof(V) / sizeof(v[0])>{}));
  }
}

// `count` samples, the rest of the vector 0.
template <typename T>
__attribute__((noinline)) typename Vector<T>::type load_some(const T* at, int64_t count) {
  T some[Vector<T>::lanes] = {};
  for (int64_t i = 0; i < std::min<int64_t>(count, Vector<T>::lanes); ++i) some[i] = at[i];
  return load(some);
}

template <typename T>
__attribute__((noinline)) void store_some(T* at, typename Vector<T>::type value, int64_t count) {
  for (int64_t i = 0; i < std::min<int64_t>(count, Vector<T>::lanes); ++i) at[i] = value[i];
}

// Past the caches, to an aligned place; `finish_past` before anyone else reads.
template <typename T>
inline void store_past(T* at, typename Vector<T>::type value) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(at), reinterpret_cast<const __m512i&>(value));
#elif defined(__AVX__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(at), reinterpret_cast<const __m256i&>(value));
#else
  store(at, value);
#endif
}

inline void finish_past() {
#if defined(__AVX__)
  _mm_sfence();
#endif
}

}  // namespace

#endif
