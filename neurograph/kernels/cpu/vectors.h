// Vectors of the widest registers that the compiler may use, and sums over their lanes.

#ifndef NEUROGRAPH_VECTORS_H_
#define NEUROGRAPH_VECTORS_H_

#include <cstddef>
#include <cstdint>
#include <utility>

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

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
inline typename Vector<T>::type load_some(const T* at, int64_t count) {
  if (count >= Vector<T>::lanes) return load(at);
  T some[Vector<T>::lanes] = {};
  for (int64_t i = 0; i < count; ++i) some[i] = at[i];
  return load(some);
}

template <typename T>
inline void store_some(T* at, typename Vector<T>::type value, int64_t count) {
  if (count >= Vector<T>::lanes) return store(at, value);
  for (int64_t i = 0; i < count; ++i) at[i] = value[i];
}

}  // namespace

#endif
