// Code compiled for several instruction sets, of which the machine's best is taken when the module is loaded. The
// operations and their order are the same in all, so the results are, too: only more of them happen at once.
#pragma once

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define CLONED __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define CLONED
#endif
