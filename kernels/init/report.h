/* What init says: sentences on the console, lines to the host; and the machine's end. */
#ifndef RUMPEL_INIT_REPORT_H
#define RUMPEL_INIT_REPORT_H

#include <stdnoreturn.h>

enum { CONTROL_LINE = 256 }; /* bytes of a control line with its '\n' */

/* Opens the console as standard input, output and error of init and so of the program, raw, so that "\n" leaves the guest as
 * "\n" and every byte that is typed arrives as it is. It is nobody's controlling terminal: no byte becomes a signal, and
 * who is in the background may read it, too. */
void report_open_console(void);

/* Opens the second UART as the control channel. Where there is none, lines to the host are dropped. */
void report_open_control(void);

/* The control channel's file descriptor, readable without blocking; -1: there is none. */
int report_control(void);

/* A sentence on the console, behind "rumpel: ". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line to the host; newlines within it become spaces, what exceeds a control line is cut. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says the sentence, tells the host `fail` with it, and ends the machine. */
noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the machine after all that was said has left it. Volumes must have been unmounted. */
noreturn void end_machine(void);

#endif
