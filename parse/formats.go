package parse

import (
	"fmt"
	"slices"
	"strings"
)

// fixed are the formats that need no configuration, by name.
var fixed = map[string]Format{
	"raw":            rawFormat{},
	"json":           jsonFormat{},
	"logfmt":         logfmtFormat{},
	"klog":           klogFormat{},
	"zap-json":       jsonFormat{zap: true},
	"syslog-rfc3164": syslog3164Format{},
	"syslog-rfc5424": syslog5424Format{},
	"cri":            criFormat{},
	"auto":           autoFormat{},
}

// aliases are other names that people know a format by.
var aliases = map[string]string{"glog": "klog", "logrus": "logfmt"}

const regexPrefix = "regex:"

// New returns the format of that name. regexes are those of the configuration,
// used as regex:NAME; they come before the ones that are built in. A Format
// holds no state and may be used by many goroutines. The error names the
// format that is unknown and the nearest that is known, or what is wrong with
// the expression.
func New(name string, regexes map[string]Regex) (Format, error) {
	if to, ok := aliases[name]; ok {
		name = to
	}
	if f, ok := fixed[name]; ok {
		return f, nil
	}
	if short, ok := strings.CutPrefix(name, regexPrefix); ok {
		if x, ok := regexes[short]; ok {
			return newRegex(name, x)
		}
		if x, ok := knownRegexes[short]; ok {
			return newRegex(name, x)
		}
	}
	known := Names()
	for own := range regexes {
		known = append(known, regexPrefix+own)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("unknown log format %q; did you mean %q? (known: %s)",
		name, nearest(name, known), strings.Join(slices.Compact(known), ", "))
}

// Names lists the formats that are built in, sorted, the regular expressions
// as regex:NAME.
func Names() []string {
	names := make([]string, 0, len(fixed)+len(knownRegexes))
	for name := range fixed {
		names = append(names, name)
	}
	for name := range knownRegexes {
		names = append(names, regexPrefix+name)
	}
	slices.Sort(names)
	return names
}

// nearest returns the name with the least edit distance to s; of equal ones
// the first.
func nearest(s string, names []string) string {
	best, least := "", 1<<30
	s = strings.ToLower(s[:min(len(s), 64)])
	for _, name := range names {
		d := distance(s, name)
		if strings.HasPrefix(name, s) || strings.HasSuffix(name, s) {
			d = min(d, 1)
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
