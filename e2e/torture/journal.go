package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// journalWriter writes entries of one unit, or with journald's native protocol.
type journalWriter struct {
	l       *ledger
	book    *book
	dice    *dice
	perTick int
	unit    *testbed.StdoutStream
	native  *testbed.Native
	number  int
}

func (w *journalWriter) run(ctx context.Context) {
	for ctx.Err() == nil {
		for range w.dice.n(2*w.perTick + 1) {
			if err := w.entry(); err != nil {
				w.book.find("rig", "writing to the journal as %s: %v", w.l.name, err)
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(tick):
		}
	}
	if w.unit != nil {
		w.unit.Close()
	}
}

func (w *journalWriter) entry() error {
	n := w.number
	w.number++
	text := strings.TrimSpace(id(w.l.name, n) + " " + pad(w.dice))
	rec := written{own: true, size: int32(len(text))}
	priority := w.dice.n(8)
	if priority > 5 {
		rec.duty = never // minLevel is notice
	}
	if w.native == nil {
		w.note(rec, text)
		return w.unit.Line(fmt.Sprintf("<%d>%s", priority, text))
	}
	if w.dice.chance(10) {
		text += "\nand a second line\n\tand a third"
	}
	w.note(rec, text)
	return w.native.Send(testbed.Field{Name: "MESSAGE", Value: text}, testbed.Field{Name: "SYSLOG_IDENTIFIER", Value: "torture"},
		testbed.Field{Name: "PRIORITY", Value: fmt.Sprint(priority)})
}

func (w *journalWriter) note(rec written, text string) {
	if len(text) > lokiMaxLine && rec.duty == must {
		rec.duty = refuse
	}
	w.book.wrote(w.l, rec, []byte(text))
}

// archived lists the archived files of a private journald.
func archived(j *testbed.Journald) []string {
	files, _ := filepath.Glob(filepath.Join(j.Dir, "*@*.journal"))
	return files
}

// doom notes that what is in journal files will be gone: nobody owes it any more.
func (b *book) doom(files []string) error {
	for _, file := range files {
		out, err := exec.Command("journalctl", "--file="+file, "-q", "-a", "-o", "cat", "--output-fields=MESSAGE").Output()
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		b.mu.Lock()
		for line := range bytes.Lines(out) {
			if l, n := b.whose(line); l != nil {
				l.records[n].gone = true
			}
		}
		b.mu.Unlock()
	}
	return nil
}

// damage flips bits of a file, or cuts it.
func damage(d *dice, path string) (what string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	size := int(info.Size())
	if size == 0 {
		return "is empty", nil
	}
	if d.chance(3) {
		return "cut", f.Truncate(int64(d.n(size)))
	}
	one := make([]byte, 1)
	for range 1 + d.n(8) {
		at := int64(d.n(size))
		if _, err := f.ReadAt(one, at); err != nil {
			return "", err
		}
		one[0] ^= 1 << d.n(8)
		if _, err := f.WriteAt(one, at); err != nil {
			return "", err
		}
	}
	return "flipped", nil
}

func writeGzip(name string, text []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write(text); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}
