echo "before"
