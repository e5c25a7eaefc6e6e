package positions

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lbshipd/lbshipd/record"
)

// The file, byte by byte (every line ends in one \n; fields are parted by one \t):
//
//	lbshipd-positions 2
//	<updated>\t<source>\t<target>\t<input>\t<position>                            one line per position, sorted
//	ledger\t<updated>\t<source>\t<target>\t<read>\t<delivered>\t<filtered>         one line per pair, sorted
//	refused\t<source>\t<target>\t<reason>\t<records>                             behind its pair's line
//	lost\t<source>\t<target>\t<reason>\t<records>\t<bytes>\t<gaps>\t<unsized>      behind its pair's line
//	sum\t<crc>\t<count>
//
// updated is Unix seconds in decimal, as are all numbers. In source, target,
// input, position and reason every byte outside 0x21 to 0x7e, and '%', is
// written as %XX. crc is the CRC-32C (Castagnoli) of every byte before the last
// line, in 8 hex digits; count is the number of lines between the first and
// the last. Format 1 has positions only. A file of a later format has another
// number in its first line and is refused, not guessed at.
const (
	header  = "lbshipd-positions 2\n"
	header1 = "lbshipd-positions 1\n"
)

// maxFileBytes bounds what is read back: far more than 10,000 inputs to 50 targets need.
const maxFileBytes = 256 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// contents is what one file holds.
type contents struct {
	entries []Entry
	rows    []Row
}

// encode sorts what c holds and writes it down.
func (c *contents) encode() []byte {
	sortEntries(c.entries)
	sortRows(c.rows)
	b := []byte(header)
	for _, e := range c.entries {
		b = strconv.AppendInt(b, e.Updated, 10)
		b = appendFields(b, e.Source, e.Target, e.Input, string(e.Position))
		b = append(b, '\n')
	}
	lines := len(c.entries)
	for i := range c.rows {
		b = c.rows[i].append(b)
		lines += 1 + len(c.rows[i].Refused) + len(c.rows[i].Lost)
	}
	return fmt.Appendf(b, "sum\t%08x\t%d\n", crc32.Checksum(b, castagnoli), lines)
}

func appendFields(b []byte, fields ...string) []byte {
	for _, s := range fields {
		b = append(b, '\t')
		b = appendEscaped(b, s)
	}
	return b
}

func decode(data []byte) (contents, error) {
	if len(data) == 0 {
		return contents{}, fmt.Errorf("the file is empty")
	}
	if !bytes.HasPrefix(data, []byte(header)) && !bytes.HasPrefix(data, []byte(header1)) {
		first, _, _ := bytes.Cut(data[:min(len(data), 64)], []byte("\n"))
		return contents{}, fmt.Errorf("line 1 is %q, want %q", first, header[:len(header)-1])
	}
	at := bytes.LastIndex(data[:len(data)-1], []byte("\n")) + 1
	var sum uint32
	var count int
	if _, err := fmt.Sscanf(string(data[at:]), "sum\t%08x\t%d\n", &sum, &count); err != nil {
		return contents{}, fmt.Errorf("the last line is not a checksum: the file is cut short")
	}
	if got := crc32.Checksum(data[:at], castagnoli); got != sum {
		return contents{}, fmt.Errorf("checksum is %08x, the last line says %08x", got, sum)
	}
	var c contents
	lines := 0
	for n, line := range strings.Split(strings.TrimSuffix(string(data[len(header):at]), "\n"), "\n") {
		if line == "" {
			continue
		}
		if err := c.decodeLine(line); err != nil {
			return contents{}, fmt.Errorf("line %d: %w", n+2, err)
		}
		lines++
	}
	if lines != count {
		return contents{}, fmt.Errorf("%d lines, the last line says %d", lines, count)
	}
	return c, nil
}

// decodeLine takes in one line; its first field says which kind it is.
func (c *contents) decodeLine(line string) error {
	f := strings.Split(line, "\t")
	for i := 1; i < len(f); i++ {
		var err error
		if f[i], err = unescape(f[i]); err != nil {
			return err
		}
	}
	if f[0] == "" || f[0][0] < 'a' || f[0][0] > 'z' {
		return c.decodeEntry(f)
	}
	return c.decodeLedger(f)
}

func (c *contents) decodeEntry(f []string) error {
	if len(f) != 5 {
		return fmt.Errorf("%d fields, want 5", len(f))
	}
	updated, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return fmt.Errorf("time of update: %w", err)
	}
	c.entries = append(c.entries, Entry{Key{f[1], f[2], f[3]}, record.Position(f[4]), updated})
	return nil
}

// ReadFile reads and verifies one positions file. Entries are sorted.
func ReadFile(path string) ([]Entry, error) {
	c, err := readContents(path)
	return c.entries, err
}

func readContents(path string) (contents, error) {
	f, err := os.Open(path)
	if err != nil {
		return contents{}, fmt.Errorf("reading positions: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return contents{}, fmt.Errorf("reading positions: %w", err)
	}
	if len(data) > maxFileBytes {
		return contents{}, fmt.Errorf("reading positions: %s is larger than %d bytes", path, maxFileBytes)
	}
	c, err := decode(data)
	if err != nil {
		return contents{}, fmt.Errorf("reading positions %s: %w", path, err)
	}
	return c, nil
}

// ReadDir reads the current generation in a data directory, without locking.
func ReadDir(dir string) ([]Entry, error) { return ReadFile(currentPath(dir)) }

func currentPath(dir string) string { return filepath.Join(dir, fileName) }

func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c >= 0x7f || c == '%' {
			b = append(b, '%', hex[c>>4], hex[c&15])
			continue
		}
		b = append(b, s[i])
	}
	return b
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("escape cut short in %q", s)
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("bad escape in %q", s)
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), nil
}
