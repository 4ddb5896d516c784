/* A clock of the day that can be set while programs run, for them alone: with LD_PRELOAD, CLOCK_REALTIME is so many
   seconds ahead as the file that CLOCK_OFFSET_FILE names holds (a 64-bit number). Who waits until a time of day waits in
   slices and looks at the clock after each, so that a clock that is set ends or lengthens the wait, as the kernel does.

   Not moved: the times of files, timers, programs that are linked statically. libfaketime 0.9.10, as Debian 12 has it,
   makes time.sleep() or Event.wait() of Python 3.11 fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_NS = 50 * 1000 * 1000, SECOND_NS = 1000 * 1000 * 1000, YEAR_2001_S = 1000 * 1000 * 1000 };

static long raw_syscall(long number, long a, long b, long c, long d, long e, long f) {
  long result;
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  result = x0;
#else
#error "system calls of this processor are not known here"
#endif
  if (result >= 0 || result < -4095) return result;
  errno = -result;
  return -1;
}

/* ---- who asks for the time -------------------------------------------------------------------------------------- */

static long long offset_s(void) {
  static const long long none = 0;
  static const volatile long long *set;
  if (!set) {
    const char *path = getenv("CLOCK_OFFSET_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    set = map == MAP_FAILED ? &none : map;
  }
  return *set;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  long failed = raw_syscall(SYS_clock_gettime, clock, (long)now, 0, 0, 0, 0);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset_s();
  return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec exact;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (now) *now = exact.tv_sec;
  return exact.tv_sec;
}

/* ---- who waits until a time of day ------------------------------------------------------------------------------ */

/* Has the time come, by the clock that is set? If not, `slice` is when to look again, by the kernel's clock. */
static int has_come(const struct timespec *deadline, struct timespec *slice) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  long long left_s = (long long)deadline->tv_sec - now.tv_sec;
  long long left_ns = left_s > 1 ? SECOND_NS : left_s < -1 ? -1 : left_s * SECOND_NS + deadline->tv_nsec - now.tv_nsec;
  long long wait_ns = left_ns < 0 ? 0 : left_ns < SLICE_NS ? left_ns : SLICE_NS;
  now.tv_sec -= offset_s();
  now.tv_nsec += wait_ns;
  slice->tv_sec = now.tv_sec + now.tv_nsec / SECOND_NS;
  slice->tv_nsec = now.tv_nsec % SECOND_NS;
  return left_ns <= 0;
}

/* A condition knows its clock and does not tell; no machine has been up since 1970. */
static int is_of_day(const struct timespec *deadline) { return deadline->tv_sec > YEAR_2001_S; }

#define NEXT(name, version)                                              \
  static __typeof__(&name) next;                                         \
  if (!next) next = (__typeof__(next))dlvsym(RTLD_NEXT, #name, version); \
  if (!next) next = (__typeof__(next))dlsym(RTLD_NEXT, #name)

/* After a slice a condition is woken for nothing, which its waiters must expect: to wait again here could miss a signal. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *deadline) {
  NEXT(pthread_cond_timedwait, "GLIBC_2.3.2");
  if (!is_of_day(deadline)) return next(condition, mutex, deadline);
  struct timespec slice;
  int is_over = has_come(deadline, &slice);
  int failed = next(condition, mutex, &slice);
  return failed == ETIMEDOUT && !is_over ? 0 : failed;
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *deadline) {
  NEXT(pthread_cond_clockwait, "GLIBC_2.34");
  if (clock != CLOCK_REALTIME) return next(condition, mutex, clock, deadline);
  struct timespec slice;
  int is_over = has_come(deadline, &slice);
  int failed = next(condition, mutex, clock, &slice);
  return failed == ETIMEDOUT && !is_over ? 0 : failed;
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *deadline) {
  NEXT(pthread_mutex_timedlock, "GLIBC_2.34");
  struct timespec slice;
  for (;;) {
    int is_over = has_come(deadline, &slice);
    int failed = next(mutex, &slice);
    if (failed != ETIMEDOUT || is_over) return failed;
  }
}

int sem_timedwait(sem_t *semaphore, const struct timespec *deadline) {
  NEXT(sem_timedwait, "GLIBC_2.34");
  struct timespec slice;
  for (;;) {
    int is_over = has_come(deadline, &slice);
    int failed = next(semaphore, &slice);
    if (!failed || errno != ETIMEDOUT || is_over) return failed;
  }
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *deadline) {
  NEXT(sem_clockwait, "GLIBC_2.34");
  return clock == CLOCK_REALTIME ? sem_timedwait(semaphore, deadline) : next(semaphore, clock, deadline);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
  NEXT(clock_nanosleep, "GLIBC_2.17");
  struct timespec slice;
  if (clock != CLOCK_REALTIME || !(flags & TIMER_ABSTIME)) return next(clock, flags, until, left);
  while (!has_come(until, &slice)) {
    int failed = next(clock, flags, &slice, left);
    if (failed) return failed;
  }
  return 0;
}

/* Abseil and the C++ library wait on futexes without asking the C library; they too may be woken for nothing. */
static long wait_on_futex(long word, long operation, long value, const struct timespec *deadline, long e, long f) {
  struct timespec slice;
  int is_over = has_come(deadline, &slice);
  long failed = raw_syscall(SYS_futex, word, operation, value, (long)&slice, e, f);
  return failed && errno == ETIMEDOUT && !is_over ? 0 : failed;
}

long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long), d = va_arg(list, long),
       e = va_arg(list, long), f = va_arg(list, long);
  va_end(list);
  int waits = number == SYS_futex && (b & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && (b & FUTEX_CLOCK_REALTIME) && d;
  return waits ? wait_on_futex(a, b, c, (const struct timespec *)d, e, f) : raw_syscall(number, a, b, c, d, e, f);
}
