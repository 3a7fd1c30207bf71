# tidy.sed -- takes out of scdoc's output the paragraphs that hold nothing, which mandoc -T lint warns of, and has
# groff break no name in two: .TH undoes what scdoc says of that before it.
# For sed -z: one pass over the whole page.
:inside
s/\n\.P\n\.RE\n/\n.RE\n.P\n/g
t inside
s/(\n\.P)+\n/\n.P\n/g
:headed
s/(\n\.S[HS] [^\n]*)\n\.P\n/\1\n/g
t headed
s/\n\.P\n(\.S[HS] )/\n\1/g
s/\n\.P\n$/\n/
s/(\n\.TH [^\n]*\n)/\1.nh\n.ad l\n/
