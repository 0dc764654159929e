/* What just-in-time compilers do, .NET's above all: code written through one mapping of a memfd and run through another,
 * barriers in all threads, signals as control flow, itself started again through /proc/self/exe. */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf fault;
static int (*compiled)(void);

static void caught(int signal) { siglongjmp(fault, signal); }
static void *call(void *unused) { return (void *)(long)compiled(); }

int main(int argc, char **argv) {
    if (argc > 1) return puts("again") < 0;
    int fd = memfd_create("code", MFD_CLOEXEC);
    if (ftruncate(fd, 4096)) return 1;
    unsigned char *writable = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    compiled = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
#ifdef __x86_64__
    memcpy(writable, "\xb8\x2a\0\0\0\xc3", 6); /* mov eax, 42; ret */
#else
    memcpy(writable, "\x40\x05\x80\x52\xc0\x03\x5f\xd6", 8); /* mov w0, 42; ret */
    __builtin___clear_cache((char *)compiled, (char *)compiled + 8);
#endif
    int registered = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    int barrier = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    printf("barrier %d %d\n", registered, barrier);
    pthread_t threads[8];
    long sum = 0;
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], 0, call, 0);
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("threads %ld\n", sum);
    signal(SIGSEGV, caught);
    int signal = sigsetjmp(fault, 1);
    if (!signal) *(volatile char *)compiled = 0;
    printf("fault %d\n", signal);
    fflush(stdout);
    pid_t child;
    char *again[] = {argv[0], "again", 0};
    return posix_spawn(&child, "/proc/self/exe", 0, 0, again, environ) || waitpid(child, 0, 0) < 0;
}
