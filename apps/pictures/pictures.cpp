#include "backflow/apps/pictures/pictures.h"

#include <cmath>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/png.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr int scale = 2, padding = 2;

static Tensor as_images(const Tensor& x, const ImageShape& image) {
  return x.reshape({x.size(0), image.channels, image.height, image.width});
}

void save_samples(const std::filesystem::path& path, const Model& model,
                  const SampleOptions& options) {
  Pass pass;
  pass.inverse = options.inverse;
  const Random latents(options.seed, purposes::sampling);
  const Tensor x = model.density().sample(options.count, latents, options.temperature, pass);
  const int columns = static_cast<int>(std::ceil(std::sqrt(static_cast<double>(options.count))));
  write_png(path, image_grid(as_images(x, model.image()), columns, padding, scale));
}

double save_reconstruction(const std::filesystem::path& path, const Model& model,
                           const Tensor& images, Inverse inverse) {
  const NoGrad no_grad;
  Pass pass;
  pass.inverse = inverse;
  const Tensor z = model.flow().forward(images, pass).z.value();
  const auto pixel = [](Real x) { return x < 0 ? Real(0) : x > 255 ? Real(255) : x; };
  const Tensor back = pointwise(as_images(model.flow().inverse(z, pass), model.image()), pixel);
  const Tensor difference =
      pointwise("difference", images, back, [](Real a, Real b) { return std::abs(a - b); });
  const int columns = static_cast<int>(images.size(0));
  write_png(path, image_grid(concat({images, back, difference}, 0), columns, padding, scale));
  return mean(difference).item();
}

}  // namespace backflow::inline BACKFLOW_PRECISION
