def run_demo(o): return 0
def is_demo(o): return False
