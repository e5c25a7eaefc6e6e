package journald

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

func TestExportEqualsJournalctl(t *testing.T) {
	t.Parallel()
	for name, layout := range layouts() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fabricate(t, dir, "system.journal", 3000, 0, layout)
			want := journalctl(t, "-D", dir, "-o", "export")
			if n := bytes.Count(want, []byte("__CURSOR=")); n != 3000 {
				t.Fatalf("journalctl shows %d entries", n)
			}
			sameOutput(t, inspect(t, InspectOptions{Directories: []string{dir}}), want)
			for _, o := range []InspectOptions{
				{Units: []string{"unit3"}}, {Units: []string{"unit4.service", "unit5"}}, {Units: []string{"unit1*"}},
				{Units: []string{"slice1.slice"}}, {Units: []string{"sl*"}}, {Identifiers: []string{"ident3"}},
				{Identifiers: []string{"ident3", "ident4"}, Units: []string{"unit7", "unit[12]*"}},
				{Matches: []string{"_PID=3", "_PID=4", "_UID=1"}}, {Matches: []string{"_PID=3", "_UID=0", "+", "PRIORITY=2"}},
				{Units: []string{"unit2"}, Matches: []string{"PRIORITY=1", "PRIORITY=0"}},
			} {
				args := []string{"-D", dir, "-o", "export"}
				for _, u := range o.Units {
					args = append(args, "-u", u)
				}
				for _, id := range o.Identifiers {
					args = append(args, "-t", id)
				}
				args = append(args, o.Matches...)
				want := journalctl(t, args...)
				if len(want) == 0 {
					t.Errorf("journalctl %v shows nothing", args)
				}
				o.Directories = []string{dir}
				t.Run(fmt.Sprint(args[4:]), func(t *testing.T) { sameOutput(t, inspect(t, o), want) })
			}
		})
	}
}

func TestMergeEqualsJournalctl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 50 {
		fabricate(t, dir, fmt.Sprintf("f%02d.journal", i), 60, int64(i*137), testbed.JournalLayout{Compact: i%2 == 0, Compress: i%3 == 0})
	}
	want := journalctl(t, "-D", dir, "-o", "export")
	sameOutput(t, inspect(t, InspectOptions{Directories: []string{dir}}), want)
}
