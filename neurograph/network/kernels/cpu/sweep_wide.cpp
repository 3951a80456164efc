// The sweep of three channels or more.

#define NEUROGRAPH_WIDE
#define NEUROGRAPH_SWEEP neurograph_sweep_wide
#include "sweep.cpp"
