/*
 * Time from the time-stamp counter; the one-shot timer of the local APIC. The counter's rate comes from KVM's clock (Linux,
 * Documentation/virt/kvm/x86/msr.rst), from the hypervisor (CPUID 0x40000010), from CPUID 0x15, or from a comparison with the APIC's timer, which QEMU and KVM run at 1 GHz. The
 * comparison overlaps with the boot: it starts in pvh_clock_init() and ends when the time is first asked for.
 */
#include "hal/clock.h"

#include "hal/kernel.h"
#include "pvh.h"

#define SHIFT 32
#define COMPARE_TICKS 1000000u
#define KVM_FEATURES 0x40000001
#define KVM_HAS_CLOCK (1u << 3) /* KVM_FEATURE_CLOCKSOURCE2 */
#define KVM_CLOCK 0x4b564d01    /* MSR_KVM_SYSTEM_TIME_NEW */
#define CMOS_INDEX 0x70
#define CMOS_DATA 0x71

static uint64_t base_tsc;
static uint64_t mult; /* ns = ticks * mult >> SHIFT */
static uint64_t apic_hz = 1000000000;
static uint64_t deadline = HAL_FOREVER;
static int64_t wall_offset;
static bool wall_known;

/* a * b / c with a 128-bit product; the largest number where the result does not fit. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t low, high, rest;
    __asm__("mul %3" : "=a"(low), "=d"(high) : "a"(a), "r"(b) : "cc");
    if (high >= c)
        return UINT64_MAX;
    __asm__("div %4" : "=a"(low), "=d"(rest) : "a"(low), "d"(high), "r"(c) : "cc");
    return low;
}

static void set_rate(uint64_t tsc_hz) {
    mult = scale(1000000000, 1ull << SHIFT, tsc_hz ? tsc_hz : 1);
}

/* KVM's clock of one CPU (struct pvclock_vcpu_time_info): ns = (ticks << shift) * mult >> 32, `shift` may be negative. */
struct kvm_clock {
    uint32_t version, pad;
    uint64_t tsc, time;
    uint32_t mult;
    int8_t shift;
    uint8_t flags, end[2];
};

/* 0: not under KVM, or it has no such clock. KVM fills the structure in before the guest goes on; then it may forget it. */
static uint64_t kvm_rate(void) {
    static volatile struct kvm_clock clock __attribute__((aligned(32)));
    struct pvh_cpuid signature = cpuid(0x40000000, 0);
    if (signature.b != 0x4b4d564b || signature.c != 0x564b4d56 || signature.d != 0x4d || !(cpuid(KVM_FEATURES, 0).a & KVM_HAS_CLOCK))
        return 0;
    wrmsr(KVM_CLOCK, ((uintptr_t)&clock - PVH_KERNEL_BASE) | 1);
    uint32_t rate_mult = clock.mult;
    int rate_shift = clock.shift;
    wrmsr(KVM_CLOCK, 0);
    if (rate_mult == 0 || rate_shift < -31 || rate_shift > 31)
        return 0;
    uint64_t hz = scale(1000000000, 1ull << 32, rate_mult);
    return rate_shift < 0 ? hz << -rate_shift : hz >> rate_shift;
}

static uint64_t announced_rate(void) {
    if (cpuid(1, 0).c >> 31 & 1) {
        uint64_t rate = kvm_rate();
        if (rate)
            return rate;
    }
    if (cpuid(1, 0).c >> 31 & 1 && cpuid(0x40000000, 0).a >= 0x40000010) {
        struct pvh_cpuid timing = cpuid(0x40000010, 0);
        if (timing.b)
            apic_hz = (uint64_t)timing.b * 1000;
        if (timing.a)
            return (uint64_t)timing.a * 1000;
    }
    if (cpuid(0, 0).a >= 0x15) {
        struct pvh_cpuid ratio = cpuid(0x15, 0);
        if (ratio.a && ratio.b && ratio.c)
            return (uint64_t)ratio.c * ratio.b / ratio.a;
    }
    return 0;
}

void pvh_clock_init(void) {
    uint64_t rate = announced_rate();
    if (rate)
        set_rate(rate);
    else
        pvh_apic_timer_start(UINT32_MAX);
    base_tsc = rdtsc();
}

static void finish_comparison(void) {
    uint32_t left;
    uint64_t now;
    do {
        left = pvh_apic_timer_count();
        now = rdtsc();
    } while (UINT32_MAX - left < COMPARE_TICKS);
    uint64_t ticks = now - base_tsc, passed = UINT32_MAX - left;
    if (ticks == 0)
        ticks = 1;
    set_rate(scale(ticks, apic_hz, passed));
    pvh_apic_timer_start(0);
}

uint64_t hal_clock_monotonic(void) {
    if (!mult)
        finish_comparison();
    return (uint64_t)((unsigned __int128)(rdtsc() - base_tsc) * mult >> SHIFT);
}

bool hal_clock_counter(struct hal_clock_counter *counter) {
    hal_clock_monotonic();
    if (mult >> 32)
        return false; /* below 1 GHz: does not fit the 32 bits */
    *counter = (struct hal_clock_counter){base_tsc, 0, (uint32_t)mult, SHIFT};
    return true;
}

static uint8_t cmos(uint8_t reg) {
    outb(CMOS_INDEX, reg | 0x80);
    return inb(CMOS_DATA);
}

struct rtc_time {
    uint8_t second, minute, hour, day, month, year, century;
};

static struct rtc_time rtc_read(void) {
    return (struct rtc_time){cmos(0), cmos(2), cmos(4), cmos(7), cmos(8), cmos(9), cmos(0x32)};
}

static unsigned binary(uint8_t value, bool bcd) {
    return bcd ? (value >> 4) * 10u + (value & 15) : value;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar, counted from March so that the leap day is last. */
static int64_t days_since_epoch(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2;
    int64_t era = year / 400;
    uint64_t of_era = (uint64_t)(year - era * 400);
    uint64_t of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    return era * 146097 + (int64_t)(of_era * 365 + of_era / 4 - of_era / 100 + of_year) - 719468;
}

/* The CMOS clock (Motorola MC146818 data sheet): seconds only. Without one, time begins at 1970. */
static void read_wall_clock(void) {
    wall_known = true;
    struct rtc_time time, again;
    if (cmos(0x0d) == 0xff)
        return;
    unsigned attempt = 0;
    do {
        while (cmos(0x0a) & 0x80 && attempt < 100000)
            attempt++;
        time = rtc_read();
        again = rtc_read();
    } while ((time.second != again.second || time.minute != again.minute || time.hour != again.hour) && ++attempt < 100000);
    uint8_t format = cmos(0x0b);
    bool bcd = !(format & 4), pm = !(format & 2) && time.hour & 0x80;
    unsigned hour = binary(time.hour & 0x7f, bcd);
    if (!(format & 2))
        hour = hour % 12 + (pm ? 12 : 0);
    int64_t year = (int64_t)(binary(time.century, bcd) >= 19 ? binary(time.century, bcd) : 20) * 100 + binary(time.year, bcd);
    unsigned month = binary(time.month, bcd), day = binary(time.day, bcd);
    if (month < 1 || month > 12 || day < 1 || day > 31)
        return;
    int64_t seconds = days_since_epoch(year, month, day) * 86400 + hour * 3600 + binary(time.minute, bcd) * 60 + binary(time.second, bcd);
    wall_offset = seconds * 1000000000 - (int64_t)hal_clock_monotonic();
}

int64_t hal_clock_wall_offset(void) {
    if (!wall_known)
        read_wall_clock();
    return wall_offset;
}

/* The APIC's counter has 32 bits: a later deadline is reached in several steps. */
static void arm(void) {
    if (deadline == HAL_FOREVER) {
        pvh_apic_timer_start(0);
        return;
    }
    uint64_t now = hal_clock_monotonic();
    uint64_t wait = deadline > now ? deadline - now : 0;
    uint64_t ticks = scale(wait, apic_hz, 1000000000);
    pvh_apic_timer_start(ticks > UINT32_MAX ? UINT32_MAX : ticks < 1 ? 1 : (uint32_t)ticks);
}

void hal_timer_arm(uint64_t when) {
    deadline = when;
    if (!mult)
        finish_comparison(); /* it uses the same counter */
    arm();
}

void pvh_clock_interrupt(void) {
    if (hal_clock_monotonic() < deadline) {
        arm();
        return;
    }
    deadline = HAL_FOREVER;
    kernel_timer();
}
