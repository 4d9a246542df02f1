module apply

go 1.19
