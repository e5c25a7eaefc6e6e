package journald

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

const (
	testBoot  = "0123456789abcdef0123456789abcdef"
	testStart = 1_700_000_000_000_000
)

// someEntries returns n entries in export format of many kinds: plain,
// multi-line, binary, repeated fields, large and compressible, no message.
func someEntries(n int, seed int64) []byte {
	rnd := rand.New(rand.NewSource(seed))
	var b []byte
	for i := range n {
		unit := fmt.Sprintf("unit%d.service", rnd.Intn(20))
		fields := []testbed.Field{
			{Name: "PRIORITY", Value: fmt.Sprint(rnd.Intn(8))},
			{Name: "SYSLOG_FACILITY", Value: fmt.Sprint(rnd.Intn(24))},
			{Name: "SYSLOG_IDENTIFIER", Value: fmt.Sprintf("ident%d", rnd.Intn(10))},
			{Name: "_HOSTNAME", Value: "host-a"},
			{Name: "_PID", Value: fmt.Sprint(1 + rnd.Intn(50))},
			{Name: "_UID", Value: fmt.Sprint(rnd.Intn(2))},
			{Name: "_COMM", Value: fmt.Sprintf("comm%d", rnd.Intn(5))},
			{Name: "_SYSTEMD_UNIT", Value: unit},
			{Name: "_SYSTEMD_SLICE", Value: fmt.Sprintf("slice%d.slice", rnd.Intn(3))},
			{Name: "_MACHINE_ID", Value: "feedfacefeedfacefeedfacefeedface"},
		}
		switch i % 11 {
		case 0:
			fields = append(fields, testbed.Field{Name: "MESSAGE", Value: fmt.Sprintf("line one %d\nline two\n", i)})
		case 1:
			fields = append(fields, testbed.Field{Name: "MESSAGE", Value: "binary \x00\x01\xff " + fmt.Sprint(i)})
		case 2:
			fields = append(fields, testbed.Field{Name: "MESSAGE", Value: fmt.Sprint("repeated ", i)},
				testbed.Field{Name: "TAG", Value: "a"}, testbed.Field{Name: "TAG", Value: "b"}, testbed.Field{Name: "TAG", Value: "\x80"})
		case 3:
			fields = append(fields, testbed.Field{Name: "MESSAGE", Value: strings.Repeat("compressible ", 50+rnd.Intn(400)) + fmt.Sprint(i)})
		case 4:
			fields = append(fields, testbed.Field{Name: "UNIT", Value: unit}, testbed.Field{Name: "CODE_LINE", Value: fmt.Sprint(i)})
		case 5:
			fields = append(fields, testbed.Field{Name: "MESSAGE", Value: "about a unit"}, testbed.Field{Name: "UNIT", Value: "unit3.service"})
			fields[4].Value = "1"
		case 6:
			fields = append(fields, testbed.Field{Name: "MESSAGE", Value: "core"}, testbed.Field{Name: "MESSAGE_ID", Value: coredumpMessageID},
				testbed.Field{Name: "COREDUMP_UNIT", Value: "unit4.service"})
			fields[5].Value = "0"
		case 7:
			fields = append(fields, testbed.Field{Name: "MESSAGE", Value: "object"}, testbed.Field{Name: "OBJECT_SYSTEMD_UNIT", Value: "unit5.service"})
			fields[5].Value = "0"
		default:
			fields = append(fields, testbed.Field{Name: "MESSAGE", Value: fmt.Sprintf("message %d of many, é ü 漢字 \U0001F600", i)})
		}
		t := uint64(testStart + seed + int64(i)*1000)
		b = testbed.AppendExport(b, t, t-testStart+1_000_000, testBoot, fields...)
	}
	return b
}

func layouts() map[string]testbed.JournalLayout {
	return map[string]testbed.JournalLayout{
		"regular":         {},
		"regular-unkeyed": {Unkeyed: true},
		"regular-zstd":    {Compress: true},
		"compact":         {Compact: true},
		"compact-zstd":    {Compact: true, Compress: true},
		"compact-unkeyed": {Compact: true, Unkeyed: true},
	}
}

func fabricate(t testing.TB, dir, name string, n int, seed int64, l testbed.JournalLayout) string {
	t.Helper()
	path := filepath.Join(dir, name)
	testbed.FabricateJournal(t, path, bytes.NewReader(someEntries(n, seed)), l)
	return path
}

func journalctl(t testing.TB, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("journalctl", append([]string{"--no-pager", "-q"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil && len(out) > 0 {
		t.Fatalf("journalctl %v: %v: %s", args, err, errs.String())
	}
	return out
}

func inspect(t testing.TB, o InspectOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Inspect(context.Background(), &b, o); err != nil {
		t.Fatalf("Inspect: %v", err)
	}
	return b.Bytes()
}

// sameOutput fails at the first line that differs.
func sameOutput(t testing.TB, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			t.Fatalf("line %d of %d (want %d) differs:\n got %.300q\nwant %.300q", i, len(g), len(w), g[i], w[i])
		}
	}
	t.Fatalf("got %d lines, journalctl has %d", len(g), len(w))
}

// renameInto makes dir by renaming made, which must be on the same file system.
func renameInto(t testing.TB, made, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(made, dir); err != nil {
		t.Fatal(err)
	}
}
