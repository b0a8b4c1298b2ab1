/* How the shim lies: it says that it did what it did not, leaves out what the other module has, or dies.
 *
 * Each lie is a number after the orders in the control file; 0 is the truth.
 */
enum {
    GET_TOKEN_INFO = 6, GET_MECHANISM_LIST = 7, OPEN_SESSION = 12, CLOSE_SESSION = 13, CREATE_OBJECT = 20,
    COPY_OBJECT = 21, ENCRYPT_INIT = 29, SIGN_INIT = 42, SIGN = 43, VERIFY_INIT = 48, GENERATE_KEY = 58, GENERATE_KEY_PAIR = 59, WRAP_KEY = 60,
    UNWRAP_KEY = 61, DERIVE_KEY = 62
};
enum { VALUE_INVALID = 0x13, UNEXTRACTABLE = 0x6A, MECHANISM_INVALID = 0x70, SESSION_COUNT = 0xB1, INCONSISTENT = 0xD1 };
enum { CLASS = 0, PRIVATE = 2, PUBLIC_KEY = 2, SECRET_KEY = 4, MOST_ATTRIBUTES = 64, WRAPPED = 40 };
enum { TOTAL_PRIVATE = 168, FREE_PRIVATE = 176, BYTES_OF_A_KEY = 1000 }; /* places in CK_TOKEN_INFO */

struct lies {
    uint64_t refuse_secrets;         /* 1: no secret key is imported, as strict FIPS modes have it */
    uint64_t wrap_anything;          /* 1: what is not extractable is wrapped */
    uint64_t without;                /* a mechanism that is neither listed nor usable */
    uint64_t forget;                 /* an attribute that templates may have and that means nothing */
    uint64_t refuse_private_publics; /* 1: no public key with CKA_PRIVATE true */
    uint64_t muddle;                 /* 1: signatures are wrong when two threads sign */
    uint64_t crash;                  /* the process dies in the function with this number */
    uint64_t most_sessions;          /* no more can be open at once */
    uint64_t free_memory;            /* so many bytes were free when nothing had been generated */
};

struct attribute {
    word type;
    void *value;
    word length;
};

static struct lies *lies;
static uint64_t signing, sessions;
static _Thread_local struct attribute kept[2][MOST_ATTRIBUTES];

static word attribute_of(word template, word count, word type, word size) {
    struct attribute *each = (struct attribute *)template;
    for (word i = 0; i < count; i++)
        if (each[i].type == type) return size == 1 ? *(unsigned char *)each[i].value : *(word *)each[i].value;
    return ~0UL;
}

static void forget_in(int which, word *template, word *count) {
    if (!lies->forget || !*template || *count > MOST_ATTRIBUTES) return;
    struct attribute *each = (struct attribute *)*template;
    word left = 0;
    for (word i = 0; i < *count; i++)
        if (each[i].type != lies->forget) kept[which][left++] = each[i];
    *template = (word)kept[which];
    *count = left;
}

static int takes_mechanism(int number) {
    return number == ENCRYPT_INIT || number == SIGN_INIT || number == VERIFY_INIT
        || (number >= GENERATE_KEY && number <= DERIVE_KEY);
}

/* Returns the CK_RV of a refusal, or 0. */
static word refused(int number, word b, word c) {
    if (lies->crash == (uint64_t)number && number) abort();
    if (lies->without && takes_mechanism(number) && *(word *)b == lies->without) return MECHANISM_INVALID;
    if (lies->most_sessions && number == OPEN_SESSION && sessions >= lies->most_sessions) return SESSION_COUNT;
    if (number != CREATE_OBJECT) return 0;
    word class = attribute_of(b, c, CLASS, sizeof(word));
    if (lies->refuse_secrets && class == SECRET_KEY) return VALUE_INVALID;
    if (lies->refuse_private_publics && class == PUBLIC_KEY && attribute_of(b, c, PRIVATE, 1) == 1) return INCONSISTENT;
    return 0;
}

static void leave_out(word *list, word *count) {
    word left = 0;
    for (word i = 0; i < *count; i++)
        if (list[i] != lies->without) list[left++] = list[i];
    *count = left;
}

/* Returns what the caller is told instead of the other module's answer. */
static word embellished(int number, word answer, word b, word c, word d, word e, word f, uint64_t generated) {
    if (number == WRAP_KEY && answer == UNEXTRACTABLE && lies->wrap_anything) {
        *(word *)f = WRAPPED;
        if (e) memset((void *)e, 7, WRAPPED);
        return 0;
    }
    if (answer) return answer;
    if (number == OPEN_SESSION) __atomic_add_fetch(&sessions, 1, __ATOMIC_SEQ_CST);
    if (number == CLOSE_SESSION) __atomic_sub_fetch(&sessions, 1, __ATOMIC_SEQ_CST);
    if (number == GET_MECHANISM_LIST && b && lies->without) leave_out((word *)b, (word *)c);
    if (number == SIGN && d && lies->muddle) {
        nap(1000);
        if (__atomic_load_n(&signing, __ATOMIC_SEQ_CST) > 1) *(unsigned char *)d ^= 1;
    }
    if (number == GET_TOKEN_INFO && lies->free_memory) {
        *(word *)(b + TOTAL_PRIVATE) = lies->free_memory;
        *(word *)(b + FREE_PRIVATE) = lies->free_memory - BYTES_OF_A_KEY * generated;
    }
    return answer;
}
