/* Runs before a Linux kernel that is entered by PVH, and tells it how fast the TSC is.
 *
 * Linux finds that out by itself with the PIT; that fails when the host is busy, and on QEMU's microvm with ACPI
 * there is neither another reference nor a timer interrupt to fall back on: the kernel then waits for ever for the
 * first tick (calibrate_delay). This measurement tolerates interruptions: it takes many pairs of readings and keeps, at
 * each end of the interval, the pair that was read in the least time. The result replaces the zeros of the word
 * "tsc_early_khz=0000000" on the kernel's command line; without that word, or without a plausible result, nothing
 * is changed.
 *
 * Entry: 32-bit protected mode, flat segments, no paging, EBX = struct hvm_start_info (Xen, docs/misc/pvh.pandoc,
 * include/public/arch-x86/hvm/start_info.h). EBX is kept for the kernel. The build puts this code at TSC_ADDRESS and
 * the kernel's own entry into `kernel_entry`. */
	.set	START_INFO_MAGIC, 0x336ec578
	.set	START_INFO_CMDLINE, 24		/* 64 bits, a physical address */
	.set	COMMAND_LINE_LIMIT, 4096
	.set	KEY_LENGTH, 14
	.set	DIGITS, 7
	.set	PIT_CHANNEL2, 0x42
	.set	PIT_COMMAND, 0x43
	.set	PIT_GATE, 0x61
	.set	PIT_HZ, 1193182
	.set	INTERVAL, 11932			/* 10 ms in ticks of the PIT */
	.set	SAMPLES, 24			/* pairs of readings at each end */
	.set	PATIENCE, 200000		/* readings until a PIT that does not count is given up */
	.set	TRIES, 16			/* measurements until two agree */

	.code32
	.text
	.globl	_start
_start:
	jmp	begin
	.balign	4
kernel_entry:
	.long	0				/* at _start + 4: filled in by the build */

begin:
	cld
	movl	$stack_top, %esp
	cmpl	$START_INFO_MAGIC, (%ebx)
	jne	leave_alone
	cmpl	$0, START_INFO_CMDLINE + 4(%ebx)
	jne	leave_alone
	movl	START_INFO_CMDLINE(%ebx), %esi
	testl	%esi, %esi
	jz	leave_alone
	call	find_key
	testl	%edi, %edi
	jz	leave_alone
	movl	%edi, digits_at
	call	settle
	testl	%eax, %eax
	jz	leave_alone
	movl	digits_at, %edi
	call	write_number
leave_alone:
	jmp	*kernel_entry

/* ESI = the command line. Returns EDI = the first of the zeros behind the key, or 0. */
find_key:
	movl	$COMMAND_LINE_LIMIT, %edx
1:	cmpb	$0, (%esi)
	je	2f
	pushl	%esi
	movl	$key, %edi
	movl	$KEY_LENGTH + DIGITS, %ecx
	repe cmpsb
	popl	%esi
	je	3f
	incl	%esi
	decl	%edx
	jnz	1b
2:	xorl	%edi, %edi
	ret
3:	leal	KEY_LENGTH(%esi), %edi
	ret

/* Returns EAX = the frequency of the TSC in kHz that two measurements in a row agree on, or 0. One alone is not to be
 * trusted: a host that stops the guest for 55 ms lets the PIT wrap unseen. */
settle:
	movl	$TRIES, tries_left
	movl	$0, previous
1:	call	measure
	movl	%eax, %ecx
	subl	previous, %ecx
	jns	2f
	negl	%ecx
2:	movl	%eax, %edx
	shrl	$9, %edx			/* they agree within 0.2 % */
	cmpl	%edx, %ecx
	jb	3f
	movl	%eax, previous
	decl	tries_left
	jnz	1b
	xorl	%eax, %eax
	ret
3:	addl	previous, %eax
	shrl	$1, %eax
	ret

/* Returns EAX = the frequency of the TSC in kHz, or 0. Channel 2 counts down once from 0xffff (mode 0): no
 * interrupt, and 55 ms before it wraps. */
measure:
	inb	$PIT_GATE, %al
	andb	$0xfd, %al			/* the speaker off */
	orb	$0x01, %al			/* the gate on */
	outb	%al, $PIT_GATE
	movb	$0xb0, %al
	outb	%al, $PIT_COMMAND
	movb	$0xff, %al
	outb	%al, $PIT_CHANNEL2
	outb	%al, $PIT_CHANNEL2
	call	sample
	movl	%eax, first_tsc
	movl	%edx, first_count
	movl	$PATIENCE, %ebp
1:	call	read_count
	movl	first_count, %eax
	subl	%ecx, %eax
	jb	2f				/* it does not count down */
	cmpl	$INTERVAL, %eax
	jae	3f
	decl	%ebp
	jnz	1b
2:	xorl	%eax, %eax
	ret
3:	call	sample
	subl	first_tsc, %eax			/* modulo 2^32: 10 ms to 55 ms at up to 78 GHz */
	movl	first_count, %ecx
	subl	%edx, %ecx
	jbe	2b
	imull	$1000, %ecx, %ecx
	movl	$PIT_HZ, %edx
	mull	%edx
	cmpl	%ecx, %edx
	jae	2b				/* the quotient would not fit */
	divl	%ecx
	cmpl	$100000, %eax			/* 100 MHz */
	jb	2b
	cmpl	$9999999, %eax
	ja	2b
	ret

/* Returns ECX = the count of channel 2. Changes EAX. */
read_count:
	movb	$0x80, %al			/* latch */
	outb	%al, $PIT_COMMAND
	xorl	%eax, %eax
	inb	$PIT_CHANNEL2, %al
	movzbl	%al, %ecx
	inb	$PIT_CHANNEL2, %al
	shll	$8, %eax
	orl	%eax, %ecx
	ret

/* Returns EAX = the low half of the TSC and EDX = the count of the PIT at the same time: of SAMPLES readings, the
 * one with the fewest TSC cycles around it. Changes ECX, ESI, EDI, EBP. */
sample:
	movl	$-1, %edi			/* the least width so far */
	movl	$SAMPLES, %ebp
1:	rdtsc
	movl	%eax, %esi
	call	read_count
	rdtsc
	subl	%esi, %eax			/* the width */
	cmpl	%edi, %eax
	jae	2f
	movl	%eax, %edi
	shrl	$1, %eax
	addl	%esi, %eax
	movl	%eax, best_tsc
	movl	%ecx, best_count
2:	decl	%ebp
	jnz	1b
	movl	best_tsc, %eax
	movl	best_count, %edx
	ret

/* Writes EAX in decimal at EDI, with spaces behind it: a leading zero would make it octal. */
write_number:
	xorl	%ecx, %ecx
	movl	$10, %esi
1:	xorl	%edx, %edx
	divl	%esi
	addl	$'0', %edx
	pushl	%edx
	incl	%ecx
	testl	%eax, %eax
	jnz	1b
	movl	$DIGITS, %edx
	subl	%ecx, %edx
2:	popl	%eax
	stosb
	decl	%ecx
	jnz	2b
	movb	$' ', %al
	movl	%edx, %ecx
	rep stosb
	ret

key:	.ascii	"tsc_early_khz=0000000"

	.balign	4
digits_at:	.long	0
tries_left:	.long	0
previous:	.long	0
first_tsc:	.long	0
first_count:	.long	0
best_tsc:	.long	0
best_count:	.long	0
	.skip	128
stack_top:
