package quickstart

// Quotes returns the quotes of the data set in the order of their dates, for
// other programs.
func Quotes() ([]Quote, error) { return readQuotes() }
