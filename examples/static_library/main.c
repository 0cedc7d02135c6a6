/* Verifies BIP-0143's example of a nested P2WPKH spend by Caesure's crates as a static library. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

int32_t caesure_verify(const char *tx, size_t tx_len, const char *script_pubkey,
                       size_t script_pubkey_len, int64_t value, uint8_t hash[32]);

static const char TX[] =
    "01000000000101db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a54770100000017160014"
    "79091972186c449eb1ded22b78e40d009bdf0089feffffff02b8b4eb0b000000001976a914a457b684d7f0d539a46a"
    "45bbc043f35b59d0d96388ac0008af2f000000001976a914fd270b1ee6abcaea97fea7ad0402e8bd8ad6d77c88ac02"
    "473044022047ac8e878352d3ebbde1c94ce3a10d057c24175747116f8288e5d794d12d482f0220217f36a485cae903"
    "c713331d877c1f64677e3622ad4010726870540656fe9dcb012103ad1d8e89212f0b92c74d23bb710c00662ad14701"
    "98ac48c43f7d6f93a2a2687392040000";
static const char SCRIPT_PUBKEY[] = "a9144733f37cf4db86fbc2efed2500b4f4e49f31202387";

static int failures;
static uint8_t hash[32];

static void expect(const char *what, int is_right) {
    printf("%s: %s\n", what, is_right ? "ok" : "WRONG");
    failures += !is_right;
}

static int32_t verify(const char *tx, int64_t value) {
    return caesure_verify(tx, strlen(tx), SCRIPT_PUBKEY, strlen(SCRIPT_PUBKEY), value, hash);
}

int main(void) {
    expect("the spend is valid", verify(TX, 1000000000) == 0);
    expect("its double SHA-256 is right", hash[0] == 0xbb && hash[31] == 0x68);
    expect("with another amount it is not", verify(TX, 1000000001) > 0);
    expect("half of a transaction is refused", verify(TX + sizeof TX / 2, 1000000000) == -1);
    return failures;
}
