package positions

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/lbshipd/lbshipd/record"
)

// The file, byte by byte (every line ends in one \n; fields are parted by one \t):
//
//	lbshipd-positions 1
//	<updated>\t<source>\t<target>\t<input>\t<position>     one line per entry, sorted
//	sum\t<crc>\t<count>
//
// updated is Unix seconds in decimal. In source, target, input and position
// every byte outside 0x21 to 0x7e, and '%', is written as %XX. crc is the
// CRC-32C (Castagnoli) of every byte before the last line, in 8 hex digits;
// count is the number of entries. A file of a later format has another number
// in its first line and is refused, not guessed at.
const header = "lbshipd-positions 1\n"

// maxFileBytes bounds what is read back: far more than 10,000 inputs to 50 targets need.
const maxFileBytes = 256 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(entries []Entry) []byte {
	b := []byte(header)
	for _, e := range entries {
		b = strconv.AppendInt(b, e.Updated, 10)
		for _, s := range [...]string{e.Source, e.Target, e.Input, string(e.Position)} {
			b = append(b, '\t')
			b = appendEscaped(b, s)
		}
		b = append(b, '\n')
	}
	return fmt.Appendf(b, "sum\t%08x\t%d\n", crc32.Checksum(b, castagnoli), len(entries))
}

func decode(data []byte) ([]Entry, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("the file is empty")
	}
	if !bytes.HasPrefix(data, []byte(header)) {
		first, _, _ := bytes.Cut(data[:min(len(data), 64)], []byte("\n"))
		return nil, fmt.Errorf("line 1 is %q, want %q", first, header[:len(header)-1])
	}
	at := bytes.LastIndex(data[:len(data)-1], []byte("\n")) + 1
	var sum uint32
	var count int
	if _, err := fmt.Sscanf(string(data[at:]), "sum\t%08x\t%d\n", &sum, &count); err != nil {
		return nil, fmt.Errorf("the last line is not a checksum: the file is cut short")
	}
	if got := crc32.Checksum(data[:at], castagnoli); got != sum {
		return nil, fmt.Errorf("checksum is %08x, the last line says %08x", got, sum)
	}
	var entries []Entry
	for n, line := range strings.Split(strings.TrimSuffix(string(data[len(header):at]), "\n"), "\n") {
		if line == "" {
			continue
		}
		e, err := decodeLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+2, err)
		}
		entries = append(entries, e)
	}
	if len(entries) != count {
		return nil, fmt.Errorf("%d entries, the last line says %d", len(entries), count)
	}
	return entries, nil
}

func decodeLine(line string) (Entry, error) {
	f := strings.Split(line, "\t")
	if len(f) != 5 {
		return Entry{}, fmt.Errorf("%d fields, want 5", len(f))
	}
	updated, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("time of update: %w", err)
	}
	for i := 1; i < len(f); i++ {
		if f[i], err = unescape(f[i]); err != nil {
			return Entry{}, err
		}
	}
	return Entry{Key{f[1], f[2], f[3]}, record.Position(f[4]), updated}, nil
}

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
