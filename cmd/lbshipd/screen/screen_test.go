package screen

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
)

const evil = "a\x1b[2J\r\nb\u009b31m\u202ec\u2028d\x7f\xffe\tf"

func TestNothingIsACommandToTheTerminal(t *testing.T) {
	if got, want := OneLine(evil), "a [2J b 31m c d \ufffde f"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := Lines(" x\n"+evil), " x\na [2J \nb 31m c d \ufffde\tf"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// JSON says the same as before.
	in, _ := json.Marshal(map[string]string{evil: evil})
	in = append(in, '\n')
	out := JSON(bytes.ReplaceAll(in, []byte(`\u2028`), []byte("\u2028")))
	var before, after map[string]string
	if json.Unmarshal(in, &before) != nil || json.Unmarshal(out, &after) != nil || len(after) != 1 {
		t.Fatalf("%q", out)
	}
	for key, value := range after {
		if before[key] != value {
			t.Errorf("%q became %q", before, after)
		}
	}
	for _, r := range string(out) {
		if unicode.IsControl(r) && r != '\n' || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' {
			t.Errorf("%q holds %U", out, r)
		}
	}
}

func TestTable(t *testing.T) {
	table := Table{Cut: 10}
	table.Add("NAME", "WHAT", "LAST")
	table.Add("é", "", "0123456789")
	table.Add("forged\nrow", "x\x1b[1m", "0123456789a")
	var b strings.Builder
	if err := table.Flush(&b); err != nil {
		t.Fatal(err)
	}
	want := "NAME         WHAT    LAST\né            -       0123456789\nforged row   x [1m   0123456...\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	// What comes later stands below it, without a title.
	b.Reset()
	table.Add("b", "c", "d")
	if err := table.Flush(&b); err != nil || b.String() != "b            c       d\n" {
		t.Errorf("%q %v", b.String(), err)
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		Grouped(0): "0", Grouped(-1234567): "-1,234,567", Grouped(999): "999", Size(10<<10 - 1): "10239 B", Size(10 << 10): "10 KiB", Size(10 << 20): "10 MiB", Size(11 << 30): "11 GiB",
		Rough(-time.Second): "0s", Rough(1234 * time.Millisecond): "1.2s", Rough(90 * time.Second): "1m30s", Rough(49 * time.Hour): "2 days", Seconds(301.4): "5m1s",
		Count(1, "node"): "1 node", Count(2, "node"): "2 nodes",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
