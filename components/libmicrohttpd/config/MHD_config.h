/* What libmicrohttpd's ./configure would find on Linux x86-64 with musl or glibc, and the parts of it that are wanted.
 *
 * Left out, for size: TLS, basic and digest authentication, the form post-processor, protocol upgrade, and its
 * messages (it has nowhere to print them; statuses say the same). Kept: epoll, eventfd, accept4, sendfile, writev.
 */
#ifndef MHD_CONFIG_H
#define MHD_CONFIG_H

#define _GNU_SOURCE 1
#define PACKAGE "libmicrohttpd"
#define VERSION "0.9.75"
#define PACKAGE_VERSION VERSION

/* Parts. */
#define EPOLL_SUPPORT 1
#define _MHD_ITC_EVENTFD 1
#define HAVE_LINUX_SENDFILE 1
#define HAVE_EPOLL_CREATE1 1
#define HAVE_ACCEPT4 1
#define HAVE_POLL 1
#define HAVE_INET6 1
#define MHD_USE_POSIX_THREADS 1
#define MHD_NO_THREAD_NAMES 1
#define MHD_USE_GETSOCKNAME 1
#define HAVE_LISTEN_SHUTDOWN 1

/* Headers. */
#define HAVE_ARPA_INET_H 1
#define HAVE_FCNTL_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_LIMITS_H 1
#define HAVE_NETDB_H 1
#define HAVE_NETINET_IN_H 1
#define HAVE_NETINET_IP_H 1
#define HAVE_NETINET_TCP_H 1
#define HAVE_NET_IF_H 1
#define HAVE_POLL_H 1
#define HAVE_PTHREAD_H 1
#define HAVE_SEARCH_H 1
#define HAVE_SIGNAL_H 1
#define HAVE_STDBOOL_H 1
#define HAVE_STDDEF_H 1
#define HAVE_STDINT_H 1
#define HAVE_STDLIB_H 1
#define HAVE_STRING_H 1
#define HAVE_SYS_EVENTFD_H 1
#define HAVE_SYS_IOCTL_H 1
#define HAVE_SYS_MMAN_H 1
#define HAVE_SYS_PARAM_H 1
#define HAVE_SYS_SELECT_H 1
#define HAVE_SYS_SOCKET_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_TIME_H 1
#define HAVE_UNISTD_H 1

/* Functions and types. */
#define HAVE_BUILTIN_BSWAP32 1
#define HAVE_BUILTIN_BSWAP64 1
#define HAVE_CALLOC 1
#define HAVE_CLOCK_GETTIME 1
#define HAVE_DECL_SOCK_NONBLOCK 1
#define HAVE_DECL_TCP_CORK 1
#define HAVE_DECL_TCP_NODELAY 1
#define HAVE_GETSOCKNAME 1
#define HAVE_GETTIMEOFDAY 1
#define HAVE_GMTIME_R 1
#define HAVE_MEMMEM 1
#define HAVE_PIPE2_FUNC 1
#define HAVE_PREAD 1
#define HAVE_PTHREAD_SIGMASK 1
#define HAVE_RANDOM 1
#define HAVE_REAL_BOOL 1
#define HAVE_SENDMSG 1
#define HAVE_SNPRINTF 1
#define HAVE_SOCK_NONBLOCK 1
#define HAVE_SYSCONF 1
#define HAVE_TSEARCH 1
#define HAVE_USLEEP 1
#define HAVE_WRITEV 1
#define HAVE___FUNC__ 1
#define HAVE_C_VARARRAYS 1
#define INLINE_FUNC 1
#define SIZEOF_INT64_T 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_STRUCT_TIMEVAL_TV_SEC 8
#define SIZEOF_UINT64_T 8
#define SIZEOF_UNSIGNED_INT 4
#define SIZEOF_UNSIGNED_LONG 8
#define SIZEOF_UNSIGNED_LONG_LONG 8

#define _MHD_EXTERN extern
#define _MHD_NORETURN __attribute__((noreturn))
#define _MHD_static_inline static inline __attribute__((always_inline))

#endif
