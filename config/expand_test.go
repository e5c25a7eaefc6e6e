package config

import (
	"strings"
	"testing"
)

// expand replaces @TAB@ and the like, which would not be seen in a file.
func expand(t *testing.T, text string) string {
	t.Helper()
	return strings.NewReplacer("@TAB@", "\t", "@NUL@", "\x00", "@LATIN1@", "\xe4", "@NONE@\n", "", "@BOM@", "\ufeff", "@CR@", "\r").Replace(text)
}
