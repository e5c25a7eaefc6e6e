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
// format that is unknown and those that are known (package config has said the
// nearest before), or what is wrong with the expression.
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
	return nil, fmt.Errorf("unknown log format %q (known: %s)", name, strings.Join(slices.Compact(known), ", "))
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
