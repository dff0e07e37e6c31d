#include "backflow/apps/model/ignored_names.h"

#include <gtest/gtest.h>

#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/preprocessing.h"
#include "backflow/flows/linear/emerging.h"
#include "backflow/flows/linear/self_normalizing.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(IgnoredNames, AreThoseThatTheLayersOfTheAuthorsHaveBesideOurs) {
  const Tensor W = Tensor::identity(2), b = Tensor::zeros({2});
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Dequantization>());
  layers.push_back(std::make_unique<Normalization>(1, 2));
  layers.push_back(std::make_unique<ActNorm>(2));  // whose translation is a parameter
  layers.push_back(std::make_unique<Exact>(W, b));
  layers.push_back(std::make_unique<SelfNormalizing>(W, W, b));  // whose weight_inv is, too
  layers.push_back(std::make_unique<Emerging>(2, Random(1)));
  EXPECT_EQ(
      ignored_names(Sequential(std::move(layers))),
      (std::vector<std::string>{"0.distribution.empty", "1.translation", "1.scale", "3.weight_inv",
                                "5.transformations.1.mask", "5.transformations.3.mask"}));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
