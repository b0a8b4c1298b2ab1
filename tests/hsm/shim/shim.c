/* A PKCS#11 module that passes every call on to another one, and misbehaves as it is told.
 *
 * PKCS11_SHIM_MODULE names the other module, PKCS11_SHIM_CONTROL a file that is mapped into memory:
 * one struct order for each function, in the order of CK_FUNCTION_LIST (PKCS#11 2.40), then the lies of lies.h. Whoever
 * writes into the file gives orders; whoever reads it sees how often each function was called. For tests only: it relies
 * on integers and pointers being passed alike, which holds on the 64-bit machines we test on.
 *
 * PKCS11_SHIM_PARAMETERS is handed to a module that must be told at C_Initialize where its token is (NSS).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FUNCTIONS = 68, INITIALIZE = 0, GET_FUNCTION_LIST = 3 };
enum { GENERAL_ERROR = 5 };

typedef unsigned long word;
typedef word (*function)(word, word, word, word, word, word, word, word);

struct list {
    unsigned char version[2];
    function functions[FUNCTIONS];
};

struct order {
    uint64_t calls;        /* counted here */
    uint64_t microseconds; /* wait so long first */
    uint64_t answer;       /* fail with this CK_RV, unless 0 */
    int64_t times;         /* so often; -1: always */
    uint64_t skip;         /* but let so many calls pass before */
    uint64_t after;        /* 1: fail only after the other module did its work */
    uint64_t hang;         /* 1: do not come back before it is 0 again */
    uint64_t hanging;      /* how many do not, counted here */
};

static struct list own;
static struct list *other;
static struct order *orders;

static void nap(uint64_t microseconds) {
    struct timespec left = {microseconds / 1000000, microseconds % 1000000 * 1000};
    while (nanosleep(&left, &left)) {}
}

#include "lies.h"

static int must_fail(struct order *order) {
    if (!order->answer || !order->times) return 0;
    if (order->skip) {
        __atomic_sub_fetch(&order->skip, 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    if (order->times > 0) __atomic_sub_fetch(&order->times, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static void hang(volatile struct order *order) {
    __atomic_add_fetch(&order->hanging, 1, __ATOMIC_SEQ_CST);
    while (order->hang) nap(1000);
    __atomic_sub_fetch(&order->hanging, 1, __ATOMIC_SEQ_CST);
}

static word initialize(void) {
    struct {
        void *mutexes[4];
        word flags;
        char *parameters;
        void *reserved;
    } arguments = {{0}, 2 /* CKF_OS_LOCKING_OK */, getenv("PKCS11_SHIM_PARAMETERS"), NULL};
    return other->functions[INITIALIZE]((word)&arguments, 0, 0, 0, 0, 0, 0, 0);
}

static word call(int number, word a, word b, word c, word d, word e, word f, word g, word h) {
    if (number == INITIALIZE && getenv("PKCS11_SHIM_PARAMETERS")) return initialize();
    if (number == CREATE_OBJECT) forget_in(0, &b, &c);
    if (number == COPY_OBJECT || number == GENERATE_KEY || number == GENERATE_KEY_PAIR) forget_in(0, &c, &d);
    if (number == GENERATE_KEY_PAIR) forget_in(1, &e, &f);
    if (number == DERIVE_KEY) forget_in(0, &d, &e);
    if (number == UNWRAP_KEY) forget_in(0, &f, &g);
    word answer = refused(number, b, c);
    if (answer) return answer;
    if (number == SIGN) __atomic_add_fetch(&signing, 1, __ATOMIC_SEQ_CST);
    answer = other->functions[number](a, b, c, d, e, f, g, h);
    answer = embellished(number, answer, b, c, d, e, f, orders[GENERATE_KEY].calls);
    if (number == SIGN) __atomic_sub_fetch(&signing, 1, __ATOMIC_SEQ_CST);
    return answer;
}

static word pass(int number, word a, word b, word c, word d, word e, word f, word g, word h) {
    struct order *order = &orders[number];
    __atomic_add_fetch(&order->calls, 1, __ATOMIC_SEQ_CST);
    if (order->microseconds) nap(order->microseconds);
    if (order->hang) hang(order);
    int fails = must_fail(order);
    if (fails && !order->after) return order->answer;
    word answer = call(number, a, b, c, d, e, f, g, h);
    return fails ? order->answer : answer;
}

#define PASS(n) \
    static word pass_##n(word a, word b, word c, word d, word e, word f, word g, word h) { \
        return pass(n, a, b, c, d, e, f, g, h); \
    }
#define TEN(x, t) x(t##0) x(t##1) x(t##2) x(t##3) x(t##4) x(t##5) x(t##6) x(t##7) x(t##8) x(t##9)
#define ALL(x) \
    x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) TEN(x, 1) TEN(x, 2) TEN(x, 3) TEN(x, 4) TEN(x, 5) \
    x(60) x(61) x(62) x(63) x(64) x(65) x(66) x(67)
ALL(PASS)

static int map_orders(void) {
    int file = open(getenv("PKCS11_SHIM_CONTROL"), O_RDWR);
    if (file < 0) return 0;
    orders = mmap(NULL, FUNCTIONS * sizeof *orders + sizeof *lies, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    lies = (struct lies *)(orders + FUNCTIONS);
    return orders != MAP_FAILED;
}

static int load_other(void) {
    void *library = dlopen(getenv("PKCS11_SHIM_MODULE"), RTLD_NOW | RTLD_LOCAL);
    word (*get)(struct list **) = library ? (word (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    return get && get(&other) == 0;
}

word C_GetFunctionList(struct list **list) {
    if (!other) {
        if (!getenv("PKCS11_SHIM_MODULE") || !getenv("PKCS11_SHIM_CONTROL")) return GENERAL_ERROR;
        if (!map_orders() || !load_other()) return GENERAL_ERROR;
        own.version[0] = other->version[0];
        own.version[1] = other->version[1];
#define PUT(n) own.functions[n] = pass_##n;
        ALL(PUT)
        own.functions[GET_FUNCTION_LIST] = (function)(void *)C_GetFunctionList;
    }
    *list = &own;
    return 0;
}
