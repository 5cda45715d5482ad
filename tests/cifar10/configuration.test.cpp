// SPDX-License-Identifier: MIT
#include "configuration.hpp"

#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/error.hpp>

#include "io/temporary_folder.hpp"

using namespace cifar10;
using meanflow_test::contains;
using meanflow_test::message_of;
using meanflow_test::TemporaryFolder;
using meanflow_test::write_bytes;

namespace {

Settings parse(const std::string& text, const std::vector<std::string>& changes = {}) {
  return parse_configuration(text, "c.yaml", changes);
}

template <class E = meanflow::SettingError>
std::string refusal(const std::string& text, const std::vector<std::string>& changes = {}) {
  return message_of<E>([&] { static_cast<void>(parse(text, changes)); });
}

}  // namespace

TEST_CASE("a configuration states what differs from the defaults") {
  const Settings s = parse(R"(
# a comment
train:
  batch: 64
  label_dropout: {rate: 0.25, count: by_chance}
net: {kind: mean_flow_net, multipliers: [1, 3], base: 16}
times: {distribution: uniform, jump_fraction: 0.5}
objective: {kind: improved_meanflow, mode: detached}
averages: [{rule: half_life, half_life: 1000}, {rule: warmup}]
)");
  CHECK(s.train.batch == 64);
  CHECK(s.train.steps == Settings{}.train.steps);
  CHECK(s.train.label_dropout.rate == 0.25);
  CHECK(s.train.label_dropout.count == meanflow::DropCount::by_chance);
  const auto& net = std::get<meanflow::MeanFlowNetSettings>(s.net);
  CHECK(net.multipliers == std::vector<std::size_t>{1, 3});
  CHECK(net.base == 16);
  CHECK(std::get<meanflow::UniformTimes>(s.times).jump_fraction == 0.5);
  CHECK(std::get<meanflow::ImprovedMeanFlow>(s.objective).mode == meanflow::JvpMode::detached);
  REQUIRE(s.averages.size() == 2);
  CHECK(std::get<meanflow::HalfLifeEma>(s.averages[0]).half_life == 1000);
  CHECK(std::holds_alternative<meanflow::WarmupEma>(s.averages[1]));
}

TEST_CASE("an empty configuration is that of the defaults") {
  CHECK(to_yaml(parse("")) == to_yaml(Settings{}));
  CHECK(to_yaml(parse("train:\n")) == to_yaml(Settings{}));
}

TEST_CASE("an optional part that is not stated is not set") {
  CHECK_FALSE(std::get<meanflow::LogitNormalTimes>(parse("").times).r);
  const Settings s = parse("times: {r: {mean: -4}}");
  const auto& times = std::get<meanflow::LogitNormalTimes>(s.times);
  REQUIRE(times.r);
  CHECK(times.r->mean == -4);
  CHECK(times.r->deviation == 1);
}

TEST_CASE("unknown keys are refused with the line and the nearest known key") {
  CHECK(refusal("train:\n  bacth: 64\n") ==
        "c.yaml:2: there is no setting train.bacth; did you mean train.batch?");
  CHECK(refusal("batch: 64") == "c.yaml:1: there is no setting batch; did you mean train.batch?");
  CHECK(refusal("\n\ntrian: {batch: 64}") ==
        "c.yaml:3: there is no setting trian; did you mean train?");
  CHECK(refusal("net: {kind: song_unet, channel_mults: [1]}\ndata: {labels: false}") ==
        "c.yaml:1: there is no setting net.channel_mults where net.kind is song_unet; did you mean "
        "net.channel_mult?");
  CHECK(refusal("objective: {kind: alpha_flow, gab: {to: 1}}") ==
        "c.yaml:1: there is no setting objective.gab where objective.kind is alpha_flow; did you "
        "mean objective.gap?");
  CHECK(refusal("times: {r: {men: 1}}") ==
        "c.yaml:1: there is no setting times.r.men; did you mean times.r.mean?");
  CHECK(refusal("averages: [{rule: warmup, max_dceay: 0.9}]") ==
        "c.yaml:1: there is no setting averages[0].max_dceay where averages[0].rule is warmup; did "
        "you mean averages[0].max_decay?");
}

TEST_CASE("values of another type or out of range are refused with what is expected") {
  CHECK(refusal("objective: {kind: alpha_flow, least_gap: 2}") ==
        "c.yaml:1: objective.least_gap is \"2\", expected a number in (0, 1]");
  CHECK(refusal("objective: {kind: alpha_flow, least_gap: 0}") ==
        "c.yaml:1: objective.least_gap is \"0\", expected a number in (0, 1]");
  CHECK(refusal("train:\n  batch: many") ==
        "c.yaml:2: train.batch is \"many\", expected a whole number of at least 1");
  CHECK(refusal("train: {batch: 0}") ==
        "c.yaml:1: train.batch is \"0\", expected a whole number of at least 1");
  CHECK(refusal("train: {batch: 1.5}") ==
        "c.yaml:1: train.batch is \"1.5\", expected a whole number of at least 1");
  CHECK(refusal("train: {batch: -1}") ==
        "c.yaml:1: train.batch is \"-1\", expected a whole number of at least 1");
  CHECK(refusal("train: {batch: [1]}") ==
        "c.yaml:1: train.batch is a list, expected a whole number of at least 1");
  CHECK(refusal("train: {batch: }") ==
        "c.yaml:1: train.batch is empty, expected a whole number of at least 1");
  CHECK(refusal("times: {jump_fraction: 1.5}") ==
        "c.yaml:1: times.jump_fraction is \"1.5\", expected a number in [0, 1]");
  CHECK(refusal("learning_rate: {peak: 0}") ==
        "c.yaml:1: learning_rate.peak is \"0\", expected a number above 0");
  CHECK(refusal("weighting: {p: nan}") ==
        "c.yaml:1: weighting.p is \"nan\", expected a number of at least 0");
  CHECK(refusal("data: {flip: yes}") == "c.yaml:1: data.flip is \"yes\", expected true or false");
  CHECK(refusal("data: {kind: imagenet}") ==
        "c.yaml:1: data.kind is \"imagenet\", expected cifar10, mnist, folder, array or latents");
  CHECK(refusal("net: {kind: resnet}") ==
        "c.yaml:1: net.kind is \"resnet\", expected mean_flow_net, song_unet, dit, imf_transformer "
        "or "
        "attention_unet");
  CHECK(refusal("net: {multipliers: [1, two]}") ==
        "c.yaml:1: net.multipliers[1] is \"two\", expected a whole number of at least 1");
  CHECK(refusal("net: {multipliers: 4}") ==
        "c.yaml:1: net.multipliers is \"4\", expected a list in brackets");
  CHECK(refusal("net: {multipliers: []}") ==
        "c.yaml:1: net.multipliers is a list, expected at least one in brackets");
  CHECK(refusal("train: 5") == "c.yaml:1: train is \"5\", expected a section with keys");
  CHECK(refusal("- train") ==
        "c.yaml:1: the configuration is a list, expected a section with keys");
  CHECK(refusal("train: {batch: 1, batch: 2}") == "c.yaml:1: train.batch is given twice");
  CHECK(
      contains(refusal<meanflow::FileError>("train: {batch: 1\ndata: 3"), "c.yaml:2: is not YAML"));
}

TEST_CASE("settings that contradict each other are refused") {
  CHECK(contains(refusal("data: {augment: true}"), "data.augment is true, but a mean_flow_net"));
  CHECK(contains(refusal("data: {labels: false}\nguidance: {kappa: 0.5}"), "nothing to guide to"));
  CHECK(contains(refusal("data: {labels: false}\nsample: {guidance: 2}"),
                 "sample.guidance is 2, but without data.labels"));
  CHECK(contains(refusal("guidance: {t_start: 0.9, t_end: 0.1}"), "guidance.t_start is 0.9"));
}

TEST_CASE("changes of the command line come last and are checked alike") {
  const Settings s = parse("train: {batch: 64, steps: 7}",
                           {"train.batch=128", "net.multipliers=[2, 2]", "times.r.mean=-4",
                            "averages=[{rule: constant, decay: 0.5}]"});
  CHECK(s.train.batch == 128);
  CHECK(s.train.steps == 7);
  CHECK(std::get<meanflow::MeanFlowNetSettings>(s.net).multipliers ==
        std::vector<std::size_t>{2, 2});
  CHECK(std::get<meanflow::LogitNormalTimes>(s.times).r->mean == -4);
  CHECK(std::get<meanflow::ConstantEma>(s.averages.at(0)).decay == 0.5);
  CHECK(refusal("", {"train.bacth=3"}) ==
        "--set train.bacth=3: there is no setting train.bacth; did you mean train.batch?");
  CHECK(refusal("", {"train.batch=x"}) ==
        "--set train.batch=x: train.batch is \"x\", expected a whole number of at least 1");
  CHECK(contains(refusal("", {"train.batch"}), "expected a setting such as train.batch=64"));
}

TEST_CASE("a net of another kind starts from its own defaults") {
  const Settings s =
      parse("net: {base: 16, blocks: 7}", {"data.labels=false", "net.kind=song_unet"});
  CHECK(std::get<meanflow::SongUNetSettings>(s.net).blocks == 4);
}

TEST_CASE("what is written is read back") {
  const Settings s = parse(R"(
data: {kind: mnist, fraction: 0.95, labels: false}
net: {kind: song_unet, dropout: 0.2, channel_mult: [1, 2], attention_resolutions: [16, 8]}
times: {t: {mean: -0.6, deviation: 1.6}, r: {mean: -4}, pairing: equal_then_min, count: by_chance}
weighting: {epsilon: 1.0e-3, reduction: mean}
objective: {kind: flow_matching}
learning_rate: {peak: 0.0006, warmup_start: 1e-08, decay: cosine}
averages: [{rule: constant, decay: 0.99995}, {rule: half_life}]
evaluate: {nfe: [1, 8]}
)");
  const std::string text = to_yaml(s);
  CHECK(to_yaml(parse(text)) == text);
  CHECK_FALSE(difference(s, parse(text)));
  CHECK(contains(text, "peak: 0.0006"));
}

TEST_CASE("a resumed training run may differ only in some settings") {
  const Settings before = parse("");
  const auto differs = [&](const std::string& change) {
    return difference(parse("", {change}), before).value_or("");
  };
  CHECK(differs("train.batch=64") == "train.batch is 64, but was 32");
  CHECK(differs("net.base=32") == "net.base is 32, but was 64");
  CHECK(differs("times.r.mean=-4") == "times.r.mean is -4, but was not set");
  CHECK(differs("objective.kind=flow_matching") ==
        "objective.kind is flow_matching, but was meanflow");
  for (const char* allowed :
       {"train.steps=5", "learning_rate.peak=0.5", "log.every=3", "checkpoint.every=3",
        "sample.count=3", "evaluate.count=3", "train.tile_rows=4", "train.precision=bfloat16"})
    CHECK(differs(allowed).empty());
}

TEST_CASE("files are read, and missing ones named") {
  const TemporaryFolder folder;
  write_bytes(folder / "c.yaml", "train: {batch: 5}\n");
  CHECK(read_configuration(folder / "c.yaml").train.batch == 5);
  CHECK(contains(message_of<meanflow::FileError>(
                     [&] { static_cast<void>(read_configuration(folder / "none.yaml")); }),
                 "none.yaml"));
}
