package config

import (
	"fmt"
	"strings"
)

// nearest returns the one of known that name was most likely meant to be, ""
// if none is near.
func nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	plain := plainName(name)
	most := max(1, len(plain)/3)
	if len(plain) < 2 {
		most = 0
	}
	best, bestDistance := "", 1+most
	for _, k := range known {
		p := plainName(k)
		if p == plain {
			return k
		}
		if d := editDistance(plain, p); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" || len(plain) < 3 {
		return best
	}
	for _, k := range known {
		if strings.Contains(plainName(k), plain) || strings.Contains(plain, plainName(k)) {
			return k
		}
	}
	return ""
}

// plainName takes out what spellings differ in: tls_bundle is TLSBundle.
func plainName(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
}

// didYouMean continues a message with the nearest known name, or all of them.
func didYouMean(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	if len(known) == 0 {
		return ""
	}
	return " (known: " + strings.Join(known, ", ") + ")"
}

// editDistance counts inserted, deleted, changed and swapped letters.
func editDistance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
