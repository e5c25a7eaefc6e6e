package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// rotations are the ways in which a file is rotated, by name.
var rotations = []struct {
	name   string
	rotate func(w *writer, n int) error
}{
	{"none", func(*writer, int) error { return nil }},
	{"rename + create", func(w *writer, n int) error {
		if err := os.Rename(w.path, w.path+"."+strconv.Itoa(n)); err != nil {
			return err
		}
		w.write(20) // the writer has not noticed yet
		return w.reopen()
	}},
	{"delete + create", func(w *writer, n int) error {
		if err := os.Remove(w.path); err != nil {
			return err
		}
		w.write(20)
		return w.reopen()
	}},
	{"copytruncate", func(w *writer, n int) error {
		if err := copyFile(w.path, w.path+"."+strconv.Itoa(n)); err != nil {
			return err
		}
		return os.Truncate(w.path, 0)
	}},
	{"20 quick renames", func(w *writer, n int) error {
		for i := range 20 {
			if err := os.Rename(w.path, fmt.Sprintf("%s.%d.%d", w.path, n, i)); err != nil {
				return err
			}
			if err := w.reopen(); err != nil {
				return err
			}
			w.write(5)
		}
		return nil
	}},
}

type writer struct {
	path string
	f    *os.File
	next int
	buf  bytes.Buffer
}

func (w *writer) reopen() error {
	if w.f != nil {
		w.f.Close()
	}
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	w.f = f
	return err
}

func (w *writer) write(n int) error {
	w.buf.Reset()
	for range n {
		fmt.Fprintf(&w.buf, "%08d %s\n", w.next, lineEnd)
		w.next++
	}
	_, err := w.f.Write(w.buf.Bytes())
	return err
}

// writeLines writes at the rate, rotates, and prints how many lines there were.
func writeLines(path, how string, length, every time.Duration, rate int) error {
	w := &writer{path: path}
	if err := w.reopen(); err != nil {
		return err
	}
	rotate := rotations[0].rotate
	for _, r := range rotations {
		if r.name == how {
			rotate = r.rotate
		}
	}
	began := time.Now()
	for n := 0; time.Since(began) < length; {
		if err := w.write(20); err != nil {
			return err
		}
		if due := int(time.Since(began) / every); due > n {
			n++
			if err := rotate(w, n); err != nil {
				return err
			}
		}
		if ahead := time.Duration(w.next)*time.Second/time.Duration(rate) - time.Since(began); ahead > 0 {
			time.Sleep(ahead)
		}
	}
	fmt.Println(w.next)
	return nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	_, err = io.Copy(dst, src)
	return err
}
