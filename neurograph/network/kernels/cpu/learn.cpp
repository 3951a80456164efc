// A sweep of two states that also takes, for every synapse between its rows, the product of what its ends bring: the states of a
// row's senders are in the nearest cache then, and mixtures of states are never written out.

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "sweep.h"

namespace {

// See Sweep (without inner, shift, signals and inflows). Beside it, for a synapse between row s and its sender r, in every channel c
// the sum over the batch of (here . before)^c at s times (there . states)^c at r; before [2, neurons, batch]
// (null: the states), matrices [2, 2].
template <typename T>
struct Learning : Sweep<T> {
  const T *before, *here, *there;
};

// Sums over the lanes of pairs of vectors, one pair for every synapse from number `next` on, go to out [synapses, 2].
template <typename T>
class Pairs {
  typedef typename Vector<T>::type Vec;
  static constexpr int lanes = Vector<T>::lanes, kPairs = lanes / 2;

 public:
  Pairs(T* out, int64_t next) : out_(out + 2 * next) {}
  void add(Vec first, Vec second) {
    held_[count_] = first, held_[kPairs + count_] = second;
    if (++count_ == kPairs) store(out_, summed()), out_ += lanes, count_ = 0;
  }
  ~Pairs() {
    if (!count_) return;
    for (int i = count_; i < kPairs; ++i) held_[i] = held_[kPairs + i] = Vec{};
    const Vec last = summed();
    for (int i = 0; i < 2 * count_; ++i) out_[i] = last[i];
  }

 private:
  Vec summed() const {
    return fold<1>(sums<T, kPairs>(held_), sums<T, kPairs>(held_ + kPairs), std::make_index_sequence<lanes>{});
  }
  Vec held_[2 * kPairs];
  T* out_;
  int count_ = 0;
};

// The samples from b on, V vectors of them; parts[0] are the synapses between the rows, parts[0].signal the states of those that are
// done. `change` [synapses in order of rows, 2].
template <typename T, int V, bool kWhole>
void learn_block(const Learning<T>& job, const std::vector<Part<T>>& parts, const LevelBands& bands, int64_t b, T* packed, T* change) {
  typedef typename Vector<T>::type Vec;
  constexpr int64_t lanes = Vector<T>::lanes, width = V * lanes;
  const Samples<T, V, kWhole> some{b, job.batch, job.neurons * job.batch, kWhole && job.stream};
  const Part<T>& own = parts[0];
  const std::vector<Part<T>> others(parts.begin() + 1, parts.end());
  for (int64_t i = 0; i < job.levels; ++i) {
    const int64_t level = job.descending ? job.levels - 1 - i : i, end = job.bounds[level + 1];
    const bool far = !bands.empty() && bands[level][0].far;
    Pairs<T> pairs(change, own.table.begin[job.bounds[level]]);
    for (int64_t row = job.bounds[level]; row < end; ++row) {
      if (const int64_t next = row + kAhead; next < job.neurons) {
        some.ask(job.offset, 2, next);
        if (job.before != job.offset) some.ask(job.before, 2, next);
        some.ask(job.gain, 2, next);
      }
      // Flows of both states in both channels: what is sent is mixed when it has arrived.
      Vec flow[4 * V]{}, left[4 * V], u[2 * V];  // [2 channels, 2 states, V]
      for (int64_t e = own.table.begin[row]; e < own.table.begin[row + 1]; ++e) {
        const T* from = packed + own.table.sources[e] * (2 * width);
        const T w0 = own.values[e], w1 = own.values[own.step + e];
        if (far) fetch<T, 2 * V>(packed + own.table.sources[std::min(e + kFetch, own.table.count - 1)] * (2 * width));
#pragma GCC unroll 8
        for (int i = 0; i < 2 * V; ++i) {
          const Vec sent = load(from + i * lanes);
          flow[i] += w0 * sent, flow[2 * V + i] += w1 * sent;
        }
      }
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) {
        const T* from = job.start + (c * job.neurons + row) * job.start_batch;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          const Vec z = !job.start ? Vec{} : job.start_batch == 1 ? Vec{} + *from : some.read(from + b, v);
          u[c * V + v] = z + (job.outer[2 * c] * flow[2 * c * V + v] + job.outer[2 * c + 1] * flow[(2 * c + 1) * V + v]);
        }
      }
      for (const Part<T>& other : others) add_synapses<T, 2, V>(other, 0, other.table.begin[row], other.table.begin[row + 1], false, u);
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          u[c * V + v] *= job.gate;
          if (job.gain) u[c * V + v] *= some.read(job.gain + some.at(c, row), v);
          if (job.offset) u[c * V + v] += job.keep * some.read(job.offset + some.at(c, row), v);
        }
      activate<2 * V>(job.activation, u, 2 * V);
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          some.write(job.states + some.at(c, row), v, u[c * V + v]);
          store(packed + (2 * row + c) * width + v * lanes, u[c * V + v]);
        }
      // Both mixtures of the product are made here, once for all synapses.
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const Vec a0 = job.before ? some.read(job.before + some.at(0, row), v) : u[v];
        const Vec a1 = job.before ? some.read(job.before + some.at(1, row), v) : u[V + v];
#pragma GCC unroll 2
        for (int c = 0; c < 2; ++c) {
          const Vec mixed = job.here[2 * c] * a0 + job.here[2 * c + 1] * a1;
          left[2 * c * V + v] = job.there[2 * c] * mixed, left[(2 * c + 1) * V + v] = job.there[2 * c + 1] * mixed;
        }
      }
      for (int64_t e = own.table.begin[row]; e < own.table.begin[row + 1]; ++e) {
        const T* from = packed + own.table.sources[e] * (2 * width);
        Vec t0{}, t1{};
#pragma GCC unroll 8
        for (int i = 0; i < 2 * V; ++i) {
          const Vec sent = load(from + i * lanes);
          t0 += left[i] * sent, t1 += left[2 * V + i] * sent;
        }
        pairs.add(t0, t1);
      }
    }
  }
  if (some.stream) finish_past();
}

template <typename T>
void learn(const Call<T>& call, Learning<T>& job, ffi::AnyBuffer change) {
  // As wide for any number of workers: products are added up block by block, in one order.
  constexpr int64_t V = 128 / kBytes < 4 ? 128 / kBytes : 4, width = V * Vector<T>::lanes;
  const Table& table = call.table;
  T* const out = static_cast<T*>(change.untyped_data());
  std::vector<std::unique_ptr<T[]>> found(job.batch / width + width);  // of every block
  const LevelBands bands = level_bands(call, job, width);
  auto run = [&](auto some, auto whole, const std::vector<Part<T>>& parts, int64_t b, T* memory, int64_t block) {
    if (!found[block]) found[block].reset(new T[2 * table.count]);
    learn_block<T, decltype(some)::value, decltype(whole)::value>(job, parts, bands, b, memory, found[block].get());
  };
  auto end = [&](int64_t replica, int64_t blocks) {
    T* const first = out + replica * 2 * table.count;
    constexpr int64_t piece = 1 << 15;
    share(call.pool, (table.count + piece - 1) / piece, [&](int64_t i, int64_t) {
      for (int64_t e = i * piece; e < std::min((i + 1) * piece, table.count); ++e)
        for (int c = 0; c < 2; ++c) {
          T total = found[0][2 * e + c];
          for (int64_t block = 1; block < blocks; ++block) total += found[block][2 * e + c];
          first[c * table.count + table.slot(e)] = total;
        }
    });
  };
  over_blocks<T, V>(call, job, 2 * job.neurons, run, end);
}

ffi::Error LearnRows(ffi::ThreadPool pool, ffi::AnyBuffer bounds, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots, ffi::AnyBuffer values,
                     ffi::AnyBuffer gates, ffi::AnyBuffer start, ffi::AnyBuffer outer, ffi::AnyBuffer offset, ffi::AnyBuffer gain,
                     ffi::AnyBuffer before, ffi::AnyBuffer here, ffi::AnyBuffer there, ffi::RemainingArgs others,
                     ffi::Result<ffi::AnyBuffer> states, ffi::Result<ffi::AnyBuffer> change, int64_t activation, int64_t against) {
  if (dim(*states, 3) != 2) return ffi::Error(ffi::ErrorCode::kInvalidArgument, "neurograph: only two states learn in a sweep");
  return checked(states->element_type(), [&] {
    Learning<Number> job{};
    job.channels = 2, job.neurons = dim(*states, 2), job.batch = dim(*states, 1), job.start_batch = dim(start, 1);
    job.activation = activation, job.descending = against, job.bounds = ints(bounds), job.levels = dim(bounds, 1) - 1;
    learn<Number>({pool, others, table_of(begin, sources, slots), values,
              {{&job.start, start}, {&job.outer, outer}, {&job.offset, offset}, {&job.gain, gain}, {&job.before, before}, {&job.here, here}, {&job.there, there}},
              {{&job.states, *states}}, gates}, job, *change);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_learn, LearnRows, binding<13>()
                                  .RemainingArgs()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("activation")
                                  .Attr<int64_t>("against"));
