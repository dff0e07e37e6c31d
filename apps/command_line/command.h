// A program's command line, or a subcommand of it, in the making: its options by kind. Each says
// its default in the help, and answers a value that makes no sense with a line that says what was
// expected.
#pragma once

#include <CLI/CLI.hpp>
#include <cctype>
#include <filesystem>
#include <functional>
#include <map>
#include <sstream>

#include "backflow/apps/files/numbers.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/model/table.h"
#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

template <class Number>
Number parse_number(const std::string& flag, const std::string& text, Number least, Number most) {
  const std::optional<Number> value = to_number<Number>(text);
  if (!value || *value < least || *value > most)
    fail(flag, "expected a ", std::is_integral_v<Number> ? "whole " : "", "number from ", least,
         " to ", most, ", got ", quote(text, '\''));
  return *value;
}

class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}
  Command(CLI::App& app, const char* name, const char* description)
      : app_(app.add_subcommand(name, description)) {}

  CLI::App* operator->() const { return app_; }

  template <class Value>
  void positional(const char* name, const char* type, Value& value, const char* help) {
    app_->add_option(name, value, help)->type_name(type)->required();
  }
  void experiment(std::string& name) {
    positional("experiment", "EXPERIMENT", name, "one that 'snf list' shows");
  }

  void path(const char* flag, const char* type, std::filesystem::path& value, const char* help,
            const std::string& when_left_out) {
    CLI::Option* option = app_->add_option(flag, value, help)->type_name(type);
    option->each([flag](const std::string& text) {  // it would be the same as left out
      if (text.empty()) fail(flag, "expected a path, got ''");
    });
    when_left_out.empty() ? option->required()
                          : option->description(with_default(help, when_left_out));
  }

  void picture(std::filesystem::path& file, const std::string& when_left_out = "") {
    const std::string help = "the PNG: a name that ends in .png, or in no extension";
    CLI::Option* option = app_->add_option_function<std::string>(
        "--out",
        [&file](const std::string& text) {
          file = text;
          require_png(file);
        },
        when_left_out.empty() ? help : with_default(help, when_left_out));
    option->type_name("FILE")->required(when_left_out.empty());
  }

  template <class Number, class Target>
  void number(const char* flag, const char* type, Target& value, Number least, Number most,
              const char* help, const std::string& when_left_out) {
    text(flag, type, help, when_left_out, [&value, flag, least, most](const std::string& text) {
      value = parse_number<Number>(flag, text, least, most);
    });
  }

  template <class Value, class Target>
  void choice(const char* flag, const char* type, Target& target,
              const std::map<std::string, Value>& values, const char* help,
              const std::string& when_left_out) {
    text(flag, type, help, when_left_out, [&target, flag, values](const std::string& text) {
      std::string known;
      for (const auto& [name, value] : values) known += (known.empty() ? "" : ", ") + name;
      if (!values.contains(text)) fail(flag, "expected one of ", known, ", got '", text, "'");
      target = values.at(text);
    });
  }

  // The name of one of the table's rows.
  template <class Row>
  void row(const char* flag, const char* type, std::string& name, const Table<Row>& table,
           const std::string& when_left_out) {
    const std::string help = "one of " + table.in_words();
    text(flag, type, help.c_str(), when_left_out, [&name, flag, &table](const std::string& text) {
      if (!table.contains(text)) fail(flag, table.not_found(text));
      name = text;
    });
  }

  void text(const char* flag, const char* type, const char* help, const std::string& when_left_out,
            const std::function<void(const std::string&)>& take) {
    app_->add_option_function<std::string>(flag, take, with_default(help, when_left_out))
        ->type_name(type);
  }

  void flag(const char* name, bool& value, const char* help) {
    app_->add_flag(name, value, with_default(help, "off"))->disable_flag_override();
  }

  // May be repeated.
  void each(const char* flag, const char* type, const char* help,
            const std::function<void(const std::string&)>& take) {
    app_->add_option_function<std::vector<std::string>>(
            flag,
            [take](const std::vector<std::string>& words) {
              for (const std::string& word : words) take(word);
            },
            help)
        ->type_name(type)
        ->type_size(1)
        ->allow_extra_args(false);
  }

  // KEY=VALUE, several in one word separated by commas, and repeated.
  void assignments(std::vector<std::pair<std::string, std::string>>& all, const char* help) {
    each("--set", "KEY=VALUE", help, [&all](const std::string& word) { assign(all, word); });
  }

  void threads() {
    text("--threads", "N", "results do not depend on it", std::to_string(backflow::threads()),
         [](const std::string& text) { set_threads(parse_number("--threads", text, 1, 1024)); });
  }

 private:
  static void require_png(const std::filesystem::path& file) {
    std::string extension = file.extension();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (extension.empty() || extension == ".png") return;
    fail("--out", "expected a file name that ends in .png, since a PNG is written, got '",
         file.string(), "'; name it '",
         std::filesystem::path(file).replace_extension(".png").string(), "'");
  }

  static void assign(std::vector<std::pair<std::string, std::string>>& all,
                     const std::string& word) {
    std::istringstream parts(word);
    for (std::string part; std::getline(parts, part, ',');) {
      const auto equals = part.find('=');
      if (equals == part.npos) fail("--set", "expected KEY=VALUE, got '", part, "'");
      all.emplace_back(part.substr(0, equals), part.substr(equals + 1));
    }
  }

  static std::string with_default(const std::string& help, const std::string& value) {
    return help + " [default: " + value + "]";
  }

  CLI::App* app_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
