/*
 * Liveness analysis of TCG's operations (QEMU's tcg/tcg.c, liveness_pass_1) that looks at fewer temporaries.
 *
 * At each branch, label, call and access to memory QEMU goes through all the temporaries of a block: some seventy, of
 * which five or ten have a state that could change. This was a tenth of what a guest's start costs. The results are the
 * same to the bit.
 *
 * It is included in tcg.c behind the functions that it stands in for, and uses TS_DEAD, TS_MEM and la_temp_pref().
 */

/*
 * The temporaries whose state may be another one than at the end of a function, each once, and all local ones. All
 * others are as they are there: dead, and globals in memory.
 */
typedef struct Touched {
    TCGTemp **list;
    uint8_t *listed; /* by the temporary's index */
    int count;
} Touched;

static inline void touch(TCGContext *s, Touched *touched, TCGTemp *ts)
{
    size_t index = ts - s->temps;

    if (!touched->listed[index]) {
        touched->listed[index] = 1;
        touched->list[touched->count++] = ts;
    }
}

/* The registers that a temporary would like to be in, when nothing is known: none for one that is dead. */
static inline void touched_no_preference(TCGTemp *ts)
{
    *la_temp_pref(ts) = ts->state == TS_DEAD ? 0 : tcg_target_available_regs[ts->type];
}

/* The end of the function, where the pass begins. */
static void touched_begin(TCGContext *s, Touched *touched)
{
    touched->list = tcg_malloc(sizeof(TCGTemp *) * s->nb_temps);
    touched->listed = tcg_malloc(s->nb_temps);
    memset(touched->listed, 0, s->nb_temps);
    touched->count = 0;
    for (int i = 0; i < s->nb_temps; i++) {
        TCGTemp *ts = &s->temps[i];

        ts->state = i < s->nb_globals ? TS_DEAD | TS_MEM : TS_DEAD;
        touched_no_preference(ts);
        if (ts->kind == TEMP_LOCAL) {
            touch(s, touched, ts);
        }
    }
}

static inline bool touched_is_global(TCGContext *s, TCGTemp *ts)
{
    return ts - s->temps < s->nb_globals;
}

/* Everything is dead and globals are in memory; local ones have the state `locals`. */
static void touched_end(TCGContext *s, Touched *touched, uintptr_t locals)
{
    int kept = 0;

    for (int i = 0; i < touched->count; i++) {
        TCGTemp *ts = touched->list[i];

        if (ts->kind == TEMP_LOCAL) {
            ts->state = locals;
            touched->list[kept++] = ts;
        } else {
            ts->state = touched_is_global(s, ts) ? TS_DEAD | TS_MEM : TS_DEAD;
            touched->listed[ts - s->temps] = 0;
        }
        touched_no_preference(ts);
    }
    touched->count = kept;
}

static inline void touched_in_memory(TCGTemp *ts)
{
    bool dead = ts->state == TS_DEAD;

    ts->state |= TS_MEM;
    if (dead) {
        touched_no_preference(ts);
    }
}

/* Globals are in memory, and dead where `kill`. */
static void touched_globals(TCGContext *s, Touched *touched, bool kill)
{
    for (int i = 0; i < touched->count; i++) {
        TCGTemp *ts = touched->list[i];

        if (touched_is_global(s, ts)) {
            if (kill) {
                ts->state = TS_DEAD;
            }
            touched_in_memory(ts);
        }
    }
}

/* A conditional branch: globals and local ones are in memory, and normal ones do not live across it. */
static void touched_branch(TCGContext *s, Touched *touched)
{
    for (int i = 0; i < touched->count; i++) {
        TCGTemp *ts = touched->list[i];

        if (touched_is_global(s, ts) || ts->kind == TEMP_LOCAL) {
            touched_in_memory(ts);
        } else if (ts->kind == TEMP_NORMAL) {
            ts->state = TS_DEAD;
            touched_no_preference(ts);
        }
    }
}

/* What lives across a call does not want the registers that a call may change. */
static void touched_call(Touched *touched)
{
    TCGRegSet kept = ~tcg_target_call_clobber_regs;

    for (int i = 0; i < touched->count; i++) {
        TCGTemp *ts = touched->list[i];

        if (!(ts->state & TS_DEAD)) {
            TCGRegSet *preferred = la_temp_pref(ts);
            TCGRegSet left = *preferred & kept;

            *preferred = left ? left : tcg_target_available_regs[ts->type] & kept;
        }
    }
}

/* What liveness_pass_1, the only one that follows to use these names, means by them; its list is called `touched`. */
#define la_reset_pref(ts) (touch(s, &touched, ts), touched_no_preference(ts))
#define la_func_end(s, globals, temps) touched_end(s, &touched, TS_DEAD)
#define la_bb_end(s, globals, temps) touched_end(s, &touched, TS_DEAD | TS_MEM)
#define la_bb_sync(s, globals, temps) touched_branch(s, &touched)
#define la_global_sync(s, globals) touched_globals(s, &touched, false)
#define la_global_kill(s, globals) touched_globals(s, &touched, true)
#define la_cross_call(s, temps) touched_call(&touched)
