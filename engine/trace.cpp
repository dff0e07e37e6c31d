#include "backflow/engine/trace.h"

namespace backflow::inline BACKFLOW_PRECISION {

static thread_local Tracer* active_tracer = nullptr;

Tracer::Tracer() : before_(std::exchange(active_tracer, this)) {}
Tracer::~Tracer() { active_tracer = before_; }
Tracer* Tracer::active() { return active_tracer; }

void trace_work(const char* what) {
  if (active_tracer) active_tracer->on_work(what);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
