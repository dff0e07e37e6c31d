// The logit of a mixture of logistic distribution functions (ops/logistic_mixture.h) as a
// transform, onto all of R, with as many bends as it has components. Its K numbers per element are
// the op's.
//
//   dsf, NAF's
//     z = logit(sum_k pi_k sigmoid(softplus(u_k) x + v_k)),       K = 3 n
//   flowpp_mixture, Flow++'s
//     z = e^a logit(sum_k pi_k sigmoid((x - v_k) e^-u_k)) + b,    K = 3 n + 2
//
// A network that is not sure of itself makes e^a overflow: capped(flowpp_mixture, cap) has
// cap tanh(a / cap) in place of a.
#pragma once

#include "backflow/flows/transforms/transform.h"
#include "backflow/ops/logistic_mixture.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline constexpr MixtureForm dsf{};  // the deep sigmoidal flow
inline constexpr MixtureForm flowpp_mixture{
    .component = MixtureForm::located, .least_log_scale = -7, .affine = true};

inline MixtureForm capped(MixtureForm form, double cap) {
  form.cap = cap;
  return form;
}

// It begins near the identity, with slopes of 1 and the components' middles spread evenly over
// [-2, 2]. The inverse is found in double, to rounding.
class LogisticMixture : public Transform {
 public:
  // Fails without a component, for a negative slope and for a cap that is not positive.
  LogisticMixture(Index components, const MixtureForm& form);
  Index parameters() const override;
  std::array<Var, 2> forward(const Var& x, const Var& p) const override;
  Tensor inverse(const Tensor& z, const Tensor& p) const override;
  Tensor initial(const Random& random) const override;

 private:
  Index components_;
  MixtureForm form_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
