// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <span>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/random/philox.hpp>

using namespace meanflow;

namespace {

using Words = std::array<std::uint32_t, 4>;

Words philox(const Words& counter, std::uint32_t key0, std::uint32_t key1) {
  philox4x32_ctr_t c{{counter[0], counter[1], counter[2], counter[3]}};
  philox4x32_key_t k{{key0, key1}};
  const philox4x32_ctr_t out = philox4x32_R(10, c, k);
  return {out.v[0], out.v[1], out.v[2], out.v[3]};
}

Words first_words(RandomStream stream) {
  return {stream.bits(), stream.bits(), stream.bits(), stream.bits()};
}

/// Kolmogorov and Smirnov's statistic times sqrt(n), against a distribution function. Above 1.95
/// with probability 0.001.
template <class T, class Distribution>
double kolmogorov_smirnov(std::vector<T> values, Distribution distribution) {
  std::ranges::sort(values);
  const double n = double(values.size());
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double expected = distribution(double(values[i]));
    worst = std::max({worst, expected - double(i) / n, double(i + 1) / n - expected});
  }
  return worst * std::sqrt(n);
}

double normal_distribution(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

double correlation(RandomStream a, RandomStream b) {
  const int n = 100'000;
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += a.normal<double>() * b.normal<double>();
  return sum / n;
}

}  // namespace

static_assert(std::uniform_random_bit_generator<RandomStream>);
static_assert(std::is_trivially_copyable_v<RandomStream>);

TEST_CASE("Philox4x32-10 gives the known answers of Random123's kat_vectors") {
  CHECK(philox({0, 0, 0, 0}, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t ones = 0xffffffff;
  CHECK(philox({ones, ones, ones, ones}, ones, ones) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("A stream is Philox of (step, row, purpose, block) under the seed") {
  CHECK(first_words(RandomStream(0, Purpose::initialisation)) ==
        Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});

  RandomStream stream(0x299f31d0a4093822, Purpose::noise, 0x243f6a88, 0x85a308d3);
  for (std::uint32_t block = 0; block < 3; ++block) {
    const Words words = philox({0x243f6a88, 0x85a308d3, std::uint32_t(Purpose::noise), block},
                               0xa4093822, 0x299f31d0);
    for (const std::uint32_t word : words) CHECK(stream.bits() == word);
  }
}

TEST_CASE("64 bits are two words, the low one first") {
  RandomStream stream(0, Purpose::initialisation);
  CHECK(stream.bits64() == 0xe169c58d6627e8d5);
}

TEST_CASE("Steps and rows beyond 2^32 still have streams of their own") {
  std::set<Words> seen;
  int count = 0;
  for (int bit = 0; bit < 44; ++bit) {
    for (const Purpose purpose : {Purpose::initialisation, Purpose::user}) {
      seen.insert(first_words(RandomStream(1, purpose, std::uint64_t(1) << bit, 0)));
      seen.insert(first_words(RandomStream(1, purpose, 0, std::uint64_t(1) << bit)));
      count += 2;
    }
  }
  CHECK(int(seen.size()) == count);
}

TEST_CASE("Streams do not repeat each other") {
  std::set<Words> seen;
  int count = 0;
  for (std::uint64_t seed : {0U, 1U}) {
    for (int purpose = 0; purpose <= int(Purpose::user); ++purpose) {
      for (std::uint64_t step = 0; step < 20; ++step) {
        for (std::uint64_t row = 0; row < 20; ++row, ++count) {
          seen.insert(first_words(RandomStream(seed, Purpose(purpose), step, row)));
        }
      }
    }
  }
  CHECK(int(seen.size()) == count);
}

TEST_CASE("Neighbouring streams are not correlated") {
  const RandomStream stream(7, Purpose::noise, 3, 5);
  const double limit = 4.5 / std::sqrt(100'000.0);
  CHECK(std::abs(correlation(stream, RandomStream(8, Purpose::noise, 3, 5))) < limit);
  CHECK(std::abs(correlation(stream, RandomStream(7, Purpose::times, 3, 5))) < limit);
  CHECK(std::abs(correlation(stream, RandomStream(7, Purpose::noise, 4, 5))) < limit);
  CHECK(std::abs(correlation(stream, RandomStream(7, Purpose::noise, 3, 6))) < limit);
  CHECK(std::abs(correlation(stream, RandomStream(7, Purpose::noise, 5, 3))) < limit);
  CHECK(correlation(stream, stream) == doctest::Approx(1).epsilon(0.05));
}

TEST_CASE_TEMPLATE("Uniform numbers", T, float, double) {
  std::vector<T> half_open(100'000), open(100'000);
  RandomStream stream(1, Purpose::user);
  for (T& value : half_open) value = stream.uniform<T>();
  for (T& value : open) value = stream.uniform_open<T>();
  CHECK(std::ranges::all_of(half_open, [](T x) { return x >= 0 && x < 1; }));
  CHECK(std::ranges::all_of(open, [](T x) { return x > 0 && x < 1; }));
  CHECK(kolmogorov_smirnov(half_open, [](double x) { return x; }) < 1.95);
  CHECK(kolmogorov_smirnov(open, [](double x) { return x; }) < 1.95);
}

TEST_CASE_TEMPLATE("Normal numbers have the moments and the distribution of the normal", T, float,
                   double) {
  std::vector<T> values(1'000'000);
  fill_normal(std::span(values), RandomStream(2, Purpose::noise));
  std::array<double, 5> moments{};
  for (const T value : values) {
    double power = 1;
    for (double& moment : moments) {
      moment += power / double(values.size());
      power *= double(value);
    }
  }
  const double sigma = 1 / std::sqrt(double(values.size()));
  CHECK(std::abs(moments[1]) < 4 * sigma);
  CHECK(std::abs(moments[2] - 1) < 4 * std::sqrt(2.0) * sigma);
  CHECK(std::abs(moments[3]) < 4 * std::sqrt(15.0) * sigma);
  CHECK(std::abs(moments[4] - 3) < 4 * std::sqrt(96.0) * sigma);
  CHECK(std::ranges::all_of(values, [](T x) { return std::isfinite(x); }));
  CHECK(kolmogorov_smirnov(values, normal_distribution) < 1.95);

  // The tails: P(|x| > 4) = 6.334e-5, so 63 of a million, with a standard deviation of 8.
  const auto far = std::ranges::count_if(values, [](T x) { return std::abs(x) > 4; });
  CHECK(far > 63 - 4 * 8);
  CHECK(far < 63 + 4 * 8);
}

TEST_CASE_TEMPLATE("Both numbers of Box and Muller are used, and are independent", T, float,
                   double) {
  std::vector<T> first, second;
  double product = 0, squares = 0;
  const int n = 100'000;
  for (int row = 0; row < n; ++row) {
    RandomStream stream(3, Purpose::noise, 0, std::uint64_t(row));
    first.push_back(stream.normal<T>());
    second.push_back(stream.normal<T>());
    const double a = double(first.back()), b = double(second.back());
    product += a * b / n;
    squares += (a * a - 1) * (b * b - 1) / n;
  }
  CHECK(kolmogorov_smirnov(first, normal_distribution) < 1.95);
  CHECK(kolmogorov_smirnov(second, normal_distribution) < 1.95);
  CHECK(std::abs(product) < 4 / std::sqrt(double(n)));
  CHECK(std::abs(squares) < 4 * 2 / std::sqrt(double(n)));

  RandomStream pair(3, Purpose::noise), next(3, Purpose::noise);
  pair.normal<T>();
  pair.normal<T>();
  for (std::size_t word = 0; word < 2 * sizeof(T) / sizeof(float); ++word) next.bits();
  CHECK(pair.bits() == next.bits());
}

TEST_CASE("Asking for another type discards the cached number") {
  RandomStream mixed(4, Purpose::noise), plain(4, Purpose::noise);
  mixed.normal<float>();
  plain.bits64();
  CHECK(mixed.normal<double>() == plain.normal<double>());
}

TEST_CASE("Integers below n are uniform") {
  for (const std::uint64_t n : {1ULL, 2ULL, 3ULL, 10ULL, 1000ULL}) {
    RandomStream stream(5, Purpose::labels);
    std::vector<double> counts(n);
    const double draws = 1000.0 * double(n);
    for (int i = 0; i < int(draws); ++i) counts.at(stream.below(n)) += 1;
    double chi2 = 0;
    for (const double count : counts) chi2 += (count - 1000) * (count - 1000) / 1000;
    const double freedom = double(n - 1);
    CHECK(chi2 <= freedom + 4.5 * std::sqrt(2 * freedom) + 1e-9);
  }
}

TEST_CASE("Integers below n have no bias where n does not divide the range") {
  // Without rejection, the lowest third of 3 * 2^30 or 3 * 2^62 would come up half of the time.
  for (const std::uint64_t n : {3ULL << 30, (3ULL << 32) + 1, 3ULL << 62}) {
    RandomStream stream(6, Purpose::labels);
    const int draws = 30'000;
    std::array<int, 3> thirds{};
    for (int i = 0; i < draws; ++i) {
      const std::uint64_t value = stream.below(n);
      REQUIRE(value < n);
      ++thirds.at(std::min<std::uint64_t>(2, value / (n / 3)));
    }
    for (const int count : thirds) CHECK(std::abs(count - draws / 3) < 4 * 82);
  }
  CHECK(RandomStream(6, Purpose::labels).below(0) == 0);
  CHECK(RandomStream(6, Purpose::labels).below(~0ULL) < ~0ULL);
}

TEST_CASE("Bernoulli draws") {
  RandomStream stream(7, Purpose::dropout);
  int count = 0;
  for (int i = 0; i < 100'000; ++i) {
    count += stream.bernoulli(0.1);
    CHECK_FALSE(stream.bernoulli(0));
    CHECK(stream.bernoulli(1));
  }
  CHECK(std::abs(count - 10'000) < 4 * 95);
}

TEST_CASE("fill_uniform keeps to its range") {
  std::vector<float> values(10'000);
  fill_uniform(std::span(values), -2.0F, 3.0F, RandomStream(8, Purpose::initialisation));
  CHECK(std::ranges::min(values) >= -2.0F);
  CHECK(std::ranges::max(values) <= 3.0F);
  CHECK(kolmogorov_smirnov(values, [](double x) { return (x + 2) / 5; }) < 1.95);
}

TEST_CASE("Rows drawn in parts are the rows drawn at once") {
  // [docs:split]
  std::vector<float> whole(100 * 3), parts(100 * 3);
  fill_normal_rows(std::span(whole), 3, 42, Purpose::noise, 7);

  const std::span<float> first = std::span(parts).first(60 * 3),
                         second = std::span(parts).last(40 * 3);
  fill_normal_rows(second, 3, 42, Purpose::noise, 7, 60);  // rows 60 to 99
  fill_normal_rows(first, 3, 42, Purpose::noise, 7);       // rows 0 to 59
  CHECK(whole == parts);
  // [docs:end]

  std::vector<float> row(3);
  fill_normal(std::span(row), RandomStream(42, Purpose::noise, 7, 99));
  CHECK(std::ranges::equal(row, std::span(whole).last(3)));
  CHECK_THROWS_AS(fill_normal_rows(std::span(whole), 7, 42, Purpose::noise, 7), ShapeError);
  CHECK_THROWS_AS(fill_normal_rows(std::span(whole), 0, 42, Purpose::noise, 7), ShapeError);
}

TEST_CASE("A stream for each row") {
  // [docs:stream]
  RandomStream random(42, Purpose::user, /*step=*/7, /*row=*/0);
  const double n = random.normal<double>();  // standard normal
  const float u = random.uniform<float>();   // in [0, 1)
  const std::uint64_t die = 1 + random.below(6);
  // [docs:end]
  CHECK(std::isfinite(n));
  CHECK(u < 1);
  CHECK(die >= 1);
  CHECK(die <= 6);
}

TEST_CASE("Permutations hold every number once and depend on seed and epoch") {
  // [docs:permutation]
  const std::vector<std::size_t> order = permutation(1000, /*seed=*/1, /*epoch=*/0);
  // [docs:end]
  std::vector<std::size_t> sorted = order;
  std::ranges::sort(sorted);
  for (std::size_t i = 0; i < sorted.size(); ++i) CHECK(sorted[i] == i);
  CHECK(order != sorted);
  CHECK(order == permutation(1000, 1, 0));
  CHECK(order != permutation(1000, 1, 1));
  CHECK(order != permutation(1000, 2, 0));
  CHECK(permutation(0, 1).empty());
  CHECK(permutation(1, 1) == std::vector<std::size_t>{0});
  const auto narrow = permutation<std::uint32_t>(1000, 1, 0);
  CHECK(std::ranges::equal(narrow, order));
  CHECK(permutation<std::uint8_t>(256, 1).size() == 256);
  CHECK_THROWS_AS((void)permutation<std::uint8_t>(257, 1), SettingError);
}

TEST_CASE("Every permutation is equally likely") {
  std::map<std::vector<std::size_t>, int> counts;
  for (std::uint64_t epoch = 0; epoch < 24'000; ++epoch) ++counts[permutation(4, 9, epoch)];
  CHECK(counts.size() == 24);
  double chi2 = 0;
  for (const auto& [order, count] : counts) chi2 += (count - 1000.0) * (count - 1000.0) / 1000;
  CHECK(chi2 < 49.7);  // of 23 degrees of freedom, with probability 0.999
}
