// Nanoseconds per step of RTNeural's models of compiled-in sizes: a recurrent layer and a dense head of one output.
//
//   rtneural MODEL.json IN.f32 OUT.f32 CALLS
//
// Steps of IN go through one by one, from zero state; their outputs go to OUT. Then come CALLS calls of them all, of which
// it prints the median, p10 and p90. -DCELL=LSTMLayerT -DINPUTS=1 -DHIDDEN=16 say which model it is compiled for.
#if defined(__AVX__) // 32 is the most it knows
#define RTNEURAL_DEFAULT_ALIGNMENT 32
#else
#define RTNEURAL_DEFAULT_ALIGNMENT 16
#endif
#define RTNEURAL_USE_EIGEN 1

#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

using Model = RTNeural::ModelT<float, INPUTS, 1, RTNeural::CELL<float, INPUTS, HIDDEN>, RTNeural::DenseT<float, HIDDEN, 1>>;

static std::vector<float> read(const char* path)
{
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::vector<float> x(bytes.size() / sizeof(float));
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(x.data()));
    return x;
}

int main(int argc, char** argv)
{
    static Model model;
    alignas(RTNEURAL_DEFAULT_ALIGNMENT) static float x[RTNEURAL_DEFAULT_ALIGNMENT / sizeof(float) + INPUTS];
    if (argc != 5)
        return 1;
    std::ifstream json(argv[1]);
    model.parseJson(json);
    const auto in = read(argv[2]);
    const size_t steps = in.size() / INPUTS, calls = std::strtoul(argv[4], nullptr, 10);
    std::vector<float> out(steps);
    std::vector<double> times;
    for (size_t call = 0; call < 1 + calls / 10 + calls; call++) { // the first gives the outputs; some warm up
        model.reset();
        const auto start = std::chrono::steady_clock::now();
        for (size_t t = 0; t < steps; t++) {
            std::copy_n(in.data() + t * INPUTS, INPUTS, x);
            out[t] = model.forward(x);
        }
        const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
        if (call == 0)
            std::ofstream(argv[3], std::ios::binary).write(reinterpret_cast<const char*>(out.data()), steps * sizeof(float));
        if (call > calls / 10)
            times.push_back(taken.count() / steps);
    }
    std::sort(times.begin(), times.end());
    std::printf("%.2f %.2f %.2f\n", times[calls / 2], times[calls / 10], times[calls * 9 / 10]);
    return 0;
}
