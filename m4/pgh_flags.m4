# Probes for compiler and linker flags, one at a time. Each probe runs with -Werror, because clang only
# warns about options that it does not know.

# PGH_CHECK_FLAG(variable, flag, [extra flags of the probe only]): appends flag to variable if it
# compiles and links.
AC_DEFUN([PGH_CHECK_FLAG], [
  AS_VAR_PUSHDEF([pgh_cache], [pgh_cv_flag_$2_$3])
  AC_CACHE_CHECK([whether $CC takes $2], [pgh_cache], [
    pgh_saved_cflags=$CFLAGS
    pgh_saved_ldflags=$LDFLAGS
    CFLAGS="$CFLAGS -Werror $3 $2"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <stdio.h>]], [[return puts("") < 0;]])],
      [AS_VAR_SET([pgh_cache], [yes])], [AS_VAR_SET([pgh_cache], [no])])
    CFLAGS=$pgh_saved_cflags
    LDFLAGS=$pgh_saved_ldflags
  ])
  AS_VAR_IF([pgh_cache], [yes], [$1="$$1 $2"])
  AS_VAR_POPDEF([pgh_cache])
])

# PGH_NEED_FLAG(variable, flag, option, hint): as above, but the build was told to have it: no flag, no build.
AC_DEFUN([PGH_NEED_FLAG], [
  pgh_before=$$1
  PGH_CHECK_FLAG([$1], [$2])
  AS_IF([test "x$pgh_before" = "x$$1"],
    [AC_MSG_ERROR([$3 was given, but $CC cannot link with $2: $4])])
])
