#include "backflow/engine/trace.h"

namespace backflow::inline BACKFLOW_PRECISION {

static thread_local Tracer* active_tracer = nullptr;

Tracer::Tracer() : before_(std::exchange(active_tracer, this)) {}
Tracer::~Tracer() { active_tracer = before_; }
Tracer* Tracer::active() { return active_tracer; }

void trace_work(const char* what) {
  if (active_tracer) active_tracer->on_work(what);
}

void FirstNonFinite::on_forward(const char* op, std::span<const Tensor> values) {
  look(op, "the value of '", values);
}

void FirstNonFinite::on_backward(const char* op, std::span<const Tensor> gradients) {
  look(op, "a gradient computed by '", gradients);
}

void FirstNonFinite::look(const char* op, const char* what, std::span<const Tensor> all) {
  for (const Tensor& x : all)
    if (!found_ && !all_finite(x)) found_ = std::string(what) + op + "'";
}

}  // namespace backflow::inline BACKFLOW_PRECISION
