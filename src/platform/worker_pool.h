// A fixed team of threads for fork-join loops inside one forward pass.
//
// The caller is worker 0. Workers spin for a short while between loops (a hand-over costs about a
// microsecond) and then sleep on a futex, so an idle program costs no CPU. One caller at a time.
//
// Other programs may take cores: parallel_for() waits only for workers that have begun a piece, and a worker offers its core
// to others between two loops once a millisecond, where nobody waits for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace edgewise::platform {

// Non-owning reference to a callable; valid during the call that it is passed to.
template <typename Signature>
class FunctionRef;

template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& f)  // NOLINT(google-explicit-constructor): made to be converted to
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}

  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int size() const;

  // Calls body(worker) once on each worker and returns when all have returned.
  void run(FunctionRef<void(int worker)> body);

  // Calls body(begin, end, worker) over [0, count) in pieces of `grain`. Each worker does an equal, contiguous share
  // in ascending order, then helps the slower ones; a worker that comes when all is done does nothing. Results must not depend
  // on who takes which piece.
  void parallel_for(std::int64_t count,
                    std::int64_t grain,
                    FunctionRef<void(std::int64_t begin, std::int64_t end, int worker)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::platform
