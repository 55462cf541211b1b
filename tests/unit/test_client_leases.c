#include "tests/unit/client_world.h"
#include "tests/tap.h"
int main(void) { world_begin(); return tap_done(); }
