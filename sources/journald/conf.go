package journald

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keeping is what a journald.conf says of how long journals are kept; a value
// below 0 is not given.
type keeping struct {
	maxUse, keepFree, maxFileSize, maxFiles int64
	retention, maxFileTime                  time.Duration
}

// forever is what "infinity" and what is too long to count become.
const forever = time.Duration(math.MaxInt64)

// systemDirs are where systemd looks for drop-ins, the first one wins.
var systemDirs = []string{"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd"}

// readKeeping reads the configuration of a journald as journald.conf(5) of
// systemd 252 has it: journald.conf, or journald@NAMESPACE.conf, and the drop-ins beside
// it. prefix is System for /var/log/journal and Runtime for /run/log/journal.
func readKeeping(dirs []string, namespace, prefix string) keeping {
	k := keeping{-1, -1, -1, -1, -1, -1}
	name := "journald.conf"
	if namespace != "" {
		name = "journald@" + namespace + ".conf"
	}
	for _, dir := range dirs {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			k.parse(string(b), prefix)
			break
		}
	}
	for _, path := range dropIns(dirs, name+".d") {
		if b, err := os.ReadFile(path); err == nil {
			k.parse(string(b), prefix)
		}
	}
	return k
}

// dropIns lists the *.conf of all directories by their names; one that comes
// first hides those of the same name.
func dropIns(dirs []string, sub string) (paths []string) {
	seen := map[string]bool{}
	for _, dir := range dirs {
		entries, _ := os.ReadDir(filepath.Join(dir, sub))
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") && !seen[e.Name()] {
				seen[e.Name()] = true
				paths = append(paths, filepath.Join(dir, sub, e.Name()))
			}
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return paths
}

// parse takes over what the text of one file says. What is not understood is
// passed over, as systemd does.
func (k *keeping) parse(text, prefix string) {
	inJournal := false
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			inJournal = line == "[Journal]"
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if ok && inJournal {
			k.set(strings.TrimSpace(name), strings.TrimSpace(value), prefix)
		}
	}
}

func (k *keeping) set(name, value, prefix string) {
	switch name {
	case "MaxRetentionSec":
		setTime(&k.retention, value)
		return
	case "MaxFileSec":
		setTime(&k.maxFileTime, value)
		return
	}
	name, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return
	}
	switch name {
	case "MaxUse":
		setSize(&k.maxUse, value)
	case "KeepFree":
		setSize(&k.keepFree, value)
	case "MaxFileSize":
		setSize(&k.maxFileSize, value)
	case "MaxFiles":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
			k.maxFiles = n
		}
	}
}

func setSize(to *int64, value string) {
	if n, ok := parseSize(value); ok {
		*to = n
	}
}

func setTime(to *time.Duration, value string) {
	if d, ok := parseSpan(value); ok {
		*to = d
	}
}

// sizeUnits are systemd's, to the base of 1024.
var sizeUnits = map[string]float64{"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}

// parseSize reads a size as systemd.syntax(7) has it: 512M, 1.5G, "1G 512M".
func parseSize(s string) (int64, bool) {
	sum, terms := 0.0, 0
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		n, unit, rest, ok := number(s)
		factor, known := sizeUnits[unit]
		if !ok || !known {
			return 0, false
		}
		sum, s, terms = sum+n*factor, rest, terms+1
	}
	return int64(min(sum, 8<<60-1<<20)), terms > 0 // less than 8 EiB
}

// spanUnits are those of systemd.time(7), in seconds.
var spanUnits = map[string]float64{
	"": 1, "seconds": 1, "second": 1, "sec": 1, "s": 1, "minutes": 60, "minute": 60, "min": 60, "m": 60,
	"months": 2629800, "month": 2629800, "M": 2629800, "msec": 1e-3, "ms": 1e-3,
	"hours": 3600, "hour": 3600, "hr": 3600, "h": 3600, "days": 86400, "day": 86400, "d": 86400,
	"weeks": 604800, "week": 604800, "w": 604800, "years": 31557600, "year": 31557600, "y": 31557600,
	"usec": 1e-6, "us": 1e-6, "µs": 1e-6, "μs": 1e-6,
}

// parseSpan reads a time span as systemd.time(7) has it: 1month, "5min 20s", 90
// (seconds), infinity.
func parseSpan(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "infinity" {
		return forever, true
	}
	sum, terms := 0.0, 0
	for ; s != ""; s = strings.TrimSpace(s) {
		n, unit, rest, ok := number(s)
		factor, known := spanUnits[unit]
		if !ok || !known {
			return 0, false
		}
		sum, s, terms = sum+n*factor, rest, terms+1
	}
	if sum >= forever.Seconds() {
		return forever, terms > 0
	}
	return time.Duration(sum * 1e9), terms > 0
}

// number cuts a number and the unit behind it off s.
func number(s string) (n float64, unit, rest string, ok bool) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.') {
		i++
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	if err != nil {
		return 0, "", "", false
	}
	rest = strings.TrimLeft(s[i:], " \t")
	k := 0
	for k < len(rest) && rest[k] != ' ' && rest[k] != '\t' && (rest[k] < '0' || rest[k] > '9') {
		k++
	}
	return n, rest[:k], rest[k:], true
}
