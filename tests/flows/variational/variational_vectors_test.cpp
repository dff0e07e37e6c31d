// Planar, radial and Sylvester flows against tensors that other implementations computed.
#include "backflow/flows/variational/planar.h"
#include "backflow/flows/variational/radial.h"
#include "backflow/flows/variational/sylvester.h"
#include "backflow/tests/flows/vectors.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(ZooVectors, Planar) {
  Vectors vectors("zoo/planar");
  const Planar flow(vectors["x"].size(1), Random(1));
  expect_zoo_flow(vectors, flow);
  vectors.expect("u_hat", flow.bend().u.value());
}

TEST(ZooVectors, Radial) {
  for (const auto& [name, offset] : {std::pair{"zoo/radial", Radial::Offset::absolute},
                                     {"zoo/radial_softplus", Radial::Offset::softplus}}) {
    Vectors vectors(name);
    expect_zoo_flow(vectors, Radial(vectors["x"].size(1), offset, Random(1)));
  }
}

// How many units there are, and reflections, the file's shapes say.
void expect_sylvester(const std::string& name, Sylvester::Basis basis) {
  Vectors vectors("zoo/sylvester_" + name);
  Sylvester::Options options{.units = vectors["param.b"].size(), .basis = basis};
  if (basis == Sylvester::Basis::householder) options.reflections = vectors["param.q"].size(0);
  const Sylvester flow(vectors["x"].size(1), options, Random(1));
  expect_zoo_flow(vectors, flow);
  vectors.expect("Q", flow.Q().value());
  vectors.expect("R1", flow.R1().value());
  vectors.expect("R2", flow.R2().value());
}

TEST(ZooVectors, Sylvester) {
  expect_sylvester("orthogonal", Sylvester::Basis::orthogonal);
  expect_sylvester("householder", Sylvester::Basis::householder);
  expect_sylvester("triangular", Sylvester::Basis::reversal);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
