// sweep.cpp of 64-bit numbers.

#define SWEEP neurograph_sweep64
#define SWEEP_NUMBER double
#include "sweep.cpp"
