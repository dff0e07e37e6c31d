// Where numbers stop being numbers: is there a NaN or an infinity, and which op made the first one?
#pragma once

#include <optional>
#include <string>

#include "backflow/engine/trace.h"

namespace backflow::inline BACKFLOW_PRECISION {

bool all_finite(const Tensor& x);

// While it is alive, looks for the first op whose value or gradient is not all finite. Reads every
// value: for the step that failed, not for every step.
class FirstNonFinite : public Tracer {
 public:
  void on_forward(const char* op, std::span<const Tensor> values) override;
  void on_backward(const char* op, std::span<const Tensor> gradients) override;
  // "the value of 'exp'" or "a gradient computed by 'exp'".
  const std::optional<std::string>& found() const { return found_; }

 private:
  void look(const char* op, const char* what, std::span<const Tensor> all);

  std::optional<std::string> found_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
